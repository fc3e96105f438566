"""An index of the changes that were sent: the many adoptions of a first sync were not."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

usable_since = "0020"
"""An index only, which the database keeps up to date for an older release too."""


def upgrade() -> None:
    is_sent = sa.text("kind <> 'adopt'")
    op.create_index(
        "ix_changes_sent", "changes", ["workspace", "sent_at"], sqlite_where=is_sent, postgresql_where=is_sent
    )
