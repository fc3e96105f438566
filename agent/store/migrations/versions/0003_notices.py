"""The notices sent last for each workspace."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_notices")),
    )
