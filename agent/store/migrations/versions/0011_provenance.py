"""What each run was made with: the release, its commit, and the digest of the configuration."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("tool_version", "tool_commit", "config_sha256"):
        op.add_column("runs", sa.Column(name, sa.Text(), nullable=True))
