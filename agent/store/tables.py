"""The tables as they are now. Times are microseconds since 1970, UTC, so that both databases compare them alike."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = ["baselines", "changes", "leases", "left", "links", "metadata", "pauses", "possible_renames", "runs"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

leases = Table(
    "leases",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    # Renewed last; 0 once it was released.
    Column("renewed_at", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("connector", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("scim_id", Text, nullable=False),
    # JSON: [[id, name], …], those that gave the assignment when the person was last seen entitled.
    Column("groups", Text, nullable=False),
    Column("missed_reads", Integer, nullable=False),
    UniqueConstraint("workspace", "scim_id"),
)

possible_renames = Table(
    "possible_renames",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("connector", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("scim_id", Text, primary_key=True),
)

baselines = Table(
    "baselines",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("connector", Text, primary_key=True),
    Column("group_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("people", Integer, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approved", Text),
    Column("digest", Text),
    # The workspace's object of the plan document, as JSON, compressed with zlib.
    Column("document", LargeBinary),
    Column("error", Text, nullable=False),
    Column("guarded", Integer),
    Column("requests", Integer, nullable=False),
    Index(None, "workspace", "started_at"),
    Index(None, "digest"),
)

left = Table(
    "left_members",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    # JSON, compressed with zlib: [[scim id, email, display name, active, [connector, person] or null, [group, …]], …].
    Column("members", LargeBinary, nullable=False),
    Index(None, "workspace", "taken_at"),
)

changes = Table(
    "changes",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("changes_email", Boolean, nullable=False),
    # The whole change as JSON; what follows is of it, folded, to find it by.
    Column("change", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("former_email", Text, nullable=False),
    Column("scim_id", Text),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    # Null while it is in flight, and for ever if the process died before the answer.
    Column("answered_at", BigInteger),
    Index(None, "workspace", "sent_at"),
    Index(None, "workspace", "email"),
    Index(None, "workspace", "former_email"),
    Index(None, "workspace", "scim_id"),
)
