"""How many members a run saw active, and how many changes it made, held and failed to make."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("active", "changed", "held", "failed"):
        op.add_column("runs", sa.Column(name, sa.Integer(), nullable=True))
