"""How large each group was when it last had people, and since when it has been empty."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "group_sightings",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("connector", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("empty_since", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "connector", "group_id", name=op.f("pk_group_sightings")),
    )
    # What the guard of shrinking groups remembers serves the first run after the upgrade. Its application is not known.
    op.execute(
        "INSERT INTO group_sightings (workspace, connector, group_id, name, app, people) "
        "SELECT workspace, connector, group_id, name, '', people FROM baselines WHERE people > 0"
    )
