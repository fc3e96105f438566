"""The current tables. Times are microseconds since 1970, UTC, so that both databases compare them alike."""

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
    text,
)

from agent.store.text import EscapedText

__all__ = [
    "announcements",
    "answered_requests",
    "approvals",
    "baselines",
    "changes",
    "daemons",
    "different_people",
    "feed_cursors",
    "feed_lags",
    "feed_reads",
    "former_sizes",
    "found_leavers",
    "group_sightings",
    "jobs",
    "leases",
    "left_members",
    "links",
    "mends",
    "metadata",
    "named_people",
    "notices",
    "page_sizes",
    "pauses",
    "possible_renames",
    "report_deliveries",
    "report_files",
    "report_names",
    "reports",
    "request_budgets",
    "request_permits",
    "runs",
    "schedules",
    "schema_support",
    "targets",
    "undone",
    "verifications",
    "whole_runs",
]

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
    Column("workspace", EscapedText, primary_key=True),
    Column("holder", EscapedText, nullable=False),
    Column("since", BigInteger, nullable=False),
    # The last renewal; 0 after release.
    Column("renewed_at", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("person", EscapedText, primary_key=True),
    Column("scim_id", EscapedText, nullable=False),
    # JSON: [[id, name], …], the groups of the assignment when the person was last entitled.
    Column("groups", Text, nullable=False),
    Column("missed_reads", Integer, nullable=False),
    UniqueConstraint("workspace", "scim_id"),
    # A feed names people of a connector, whatever their workspaces.
    Index("ix_links_connector_person", "connector", "person"),
)

possible_renames = Table(
    "possible_renames",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("person", EscapedText, primary_key=True),
    Column("scim_id", EscapedText, primary_key=True),
)

# Persons and members of the same name that an operator recorded as two people.
different_people = Table(
    "different_people",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("person", EscapedText, primary_key=True),
    Column("scim_id", EscapedText, primary_key=True),
    Column("run_id", EscapedText, nullable=False),
)

baselines = Table(
    "baselines",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("group_id", EscapedText, primary_key=True),
    Column("name", EscapedText, nullable=False),
    Column("people", Integer, nullable=False),
    # When an enforcing run last accepted this size; null where a release without this column wrote it.
    Column("seen_at", BigInteger),
)

# Other sizes of the groups of `baselines` within the last 24 hours, and when each was last accepted.
former_sizes = Table(
    "former_sizes",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("group_id", EscapedText, primary_key=True),
    Column("people", Integer, primary_key=True, autoincrement=False),
    Column("seen_at", BigInteger, nullable=False),
)

# Groups as enforcing runs read them: `people` is the last size that is not 0.
group_sightings = Table(
    "group_sightings",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("group_id", EscapedText, primary_key=True),
    Column("name", EscapedText, nullable=False),
    # The application that counts it; empty where it came from `baselines`.
    Column("app", EscapedText, nullable=False),
    Column("people", Integer, nullable=False),
    # When a run first read it empty after that; null while it has people.
    Column("empty_since", BigInteger),
)

targets = Table(
    "targets",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    # Empty: the workspace itself.
    Column("connector", EscapedText, primary_key=True),
    Column("fingerprint", EscapedText, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
)

# Changes that an undo reverted, with their reasons: no plan repeats one until its reason changes.
undone = Table(
    "undone",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("scim_id", EscapedText, primary_key=True),
    Column("kind", Text, primary_key=True),
    # Null for an unmanaged member.
    Column("connector", EscapedText),
    Column("person", EscapedText),
    Column("code", Text, nullable=False),
    # JSON: ids.
    Column("groups", Text, nullable=False),
    Column("email", EscapedText, nullable=False),
    Column("display_name", EscapedText, nullable=False),
    Column("run_id", EscapedText, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("by", EscapedText, nullable=False),
    Column("reason", EscapedText, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", EscapedText, primary_key=True),
    Column("workspace", EscapedText, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("by", EscapedText, nullable=False),
    Column("reason", EscapedText, nullable=False),
    Column("approved", Text),
    Column("digest", Text),
    # The workspace's object of the plan document, as JSON, compressed with zlib.
    Column("document", LargeBinary),
    Column("error", EscapedText, nullable=False),
    Column("guarded", Integer),
    Column("requests", Integer, nullable=False),
    # The email of the person for a run limited to one.
    Column("for_user", EscapedText, nullable=False, server_default=text("''")),
    # The counts, for lists and charts; null without a plan.
    Column("active", Integer),
    Column("changed", Integer),
    Column("held", Integer),
    Column("failed", Integer),
    # The fingerprint of the workspace; null for runs of releases without it, and for runs over no workspace.
    Column("target", EscapedText),
    # What it was made with; null for runs of releases without these.
    Column("tool_version", Text),
    Column("tool_commit", Text),
    Column("config_sha256", Text),
    Index(None, "workspace", "started_at"),
    Index(None, "digest"),
)

left_members = Table(
    "left_members",
    metadata,
    Column("run_id", EscapedText, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("workspace", EscapedText, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    # JSON, compressed with zlib: [[scim id, email, display name, active, [connector, person] or null, [group, …]], …].
    Column("members", LargeBinary, nullable=False),
    Index(None, "workspace", "taken_at"),
)

changes = Table(
    "changes",
    metadata,
    Column("run_id", EscapedText, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("workspace", EscapedText, nullable=False),
    Column("kind", Text, nullable=False),
    Column("changes_email", Boolean, nullable=False),
    # The whole change as JSON; the next two are its emails as `address_key` returns them, for lookups.
    Column("change", Text, nullable=False),
    Column("email", EscapedText, nullable=False),
    Column("former_email", EscapedText, nullable=False),
    Column("scim_id", EscapedText),
    Column("outcome", Text, nullable=False),
    Column("detail", EscapedText, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    # Null while it is in flight, and for good if the process died before the response.
    Column("answered_at", BigInteger),
    # For creates with an unknown outcome: whether the workspace accepted it (null: no), and how many complete
    # listings in a row had no member for it (null: 0). `scim_id` is the member that was found.
    Column("accepted", Boolean),
    Column("absences", Integer),
    Index(None, "workspace", "sent_at"),
    Index(None, "workspace", "outcome"),
    Index(None, "workspace", "email"),
    Index(None, "workspace", "former_email"),
    Index(None, "workspace", "scim_id"),
    # For the queries of recent writes: right after a first sync nearly all recent changes are adoptions, which are not
    # in it. The migration has that condition: here it would import PostgreSQL's dialect, a twentieth of each start.
    Index("ix_changes_sent", "workspace", "sent_at"),
)

mends = Table(
    "mends",
    metadata,
    Column("run_id", EscapedText, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    # Links as JSON: the one that was replaced, and the new one.
    Column("was", Text),
    Column("link", Text),
)

approvals = Table(
    "approvals",
    metadata,
    # The run in which it was given.
    Column("run_id", EscapedText, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("workspace", EscapedText, nullable=False),
    Column("digest", Text, nullable=False),
    Column("by", EscapedText, nullable=False),
    Column("reason", EscapedText, nullable=False),
    Column("at", BigInteger, nullable=False),
    # JSON: the codes of the guards that it is for; empty for all.
    Column("guards", Text, nullable=False),
    # The run that applied what it releases; null while other people must approve too.
    Column("applied_in", EscapedText),
    Index(None, "workspace", "digest"),
    Index(None, "applied_in"),
)

notices = Table(
    "notices",
    metadata,
    # `run:pigment-latam:0`, `waiting:pigment-latam:0`, `token:pigment-latam:0`; 0 is the position of the URL.
    Column("subject", EscapedText, primary_key=True),
    Column("condition", EscapedText, nullable=False),
)

daemons = Table(
    "daemons",
    metadata,
    Column("id", EscapedText, primary_key=True),
    Column("host", EscapedText, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("version", EscapedText, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    # The last sign of life, by the database's clock.
    Column("seen_at", BigInteger, nullable=False),
)

# The results of `check`, `probe` and `compare`.
verifications = Table(
    "verifications",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("started_at", BigInteger, primary_key=True),
    Column("result", Text, nullable=False),
    # What it was made with: the other reader of a comparison, the canary of a probe.
    Column("subject", EscapedText, nullable=False),
    Column("by", EscapedText, nullable=False),
    Column("version", EscapedText, nullable=False),
    Column("document", LargeBinary, nullable=False),
)

# The page size that a workspace's server accepts, by the workspace's fingerprint, where it refuses a larger one.
page_sizes = Table(
    "page_sizes",
    metadata,
    Column("target", EscapedText, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("learned_at", BigInteger, nullable=False),
)

# The request budget of each host that several processes share.
request_budgets = Table(
    "request_budgets",
    metadata,
    Column("host", EscapedText, primary_key=True),
    # When the pause that the host asked for ends; 0 without one.
    Column("paused_until", BigInteger, nullable=False),
)

# The permits of each process whose requests may be under way, or not sent yet.
request_permits = Table(
    "request_permits",
    metadata,
    Column("host", EscapedText, primary_key=True),
    Column("holder", EscapedText, primary_key=True),
    # Grows with each exchange of the holder: one that arrives late changes nothing.
    Column("number", BigInteger, nullable=False),
    Column("permits", Integer, nullable=False),
    Column("counts_until", BigInteger, nullable=False),
    # Until when the holder counts as waiting for a permit; 0: it does not.
    Column("deactivation_waits_until", BigInteger, nullable=False),
    Column("read_waits_until", BigInteger, nullable=False),
)

answered_requests = Table(
    "answered_requests",
    metadata,
    Column("host", EscapedText, primary_key=True),
    Column("holder", EscapedText, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("requests", Integer, nullable=False),
    Column("counts_until", BigInteger, nullable=False),
)

feed_cursors = Table(
    "feed_cursors",
    metadata,
    Column("connector", EscapedText, primary_key=True),
    # The fingerprint of the provider account that the cursor is valid for.
    Column("account", EscapedText, nullable=False),
    Column("cursor", EscapedText, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("polled_at", BigInteger, nullable=False),
    # The newest event so far, by the provider's clock.
    Column("event_at", BigInteger),
)

# Linked people whom a feed named, until a look at them is conclusive.
named_people = Table(
    "named_people",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("person", EscapedText, primary_key=True),
    # The first event that named them, and the newest time.
    Column("event_id", EscapedText, nullable=False),
    Column("word", EscapedText, nullable=False),
    Column("event_at", BigInteger),
    Column("named_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("looks", Integer, nullable=False),
)

# Linked people whom an event named, looked at or not. The person "" is anyone of the workspace.
announcements = Table(
    "announcements",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("person", EscapedText, primary_key=True),
    Column("named_at", BigInteger, nullable=False),
    Column("event_at", BigInteger),
)

# When the newest run over everyone that recorded its leavers began.
feed_reads = Table(
    "feed_reads",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("began_at", BigInteger, nullable=False),
)

# People whom runs over everyone found to have left.
found_leavers = Table(
    "found_leavers",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("person", EscapedText, primary_key=True),
    Column("found_at", BigInteger, nullable=False),
    # An announcement from then on counts. NULL: the feed could not have seen them leave.
    Column("announced_since", BigInteger),
    # `waiting`, `announced`, `missed` or `not-judged`.
    Column("verdict", EscapedText, nullable=False),
)

# When the newest run over everyone of a workspace began, and whether a feed asks for another one.
whole_runs = Table(
    "whole_runs",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    # Empty: none is asked for. Then how often it was tried, and when last.
    Column("why", EscapedText, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("tried_at", BigInteger, nullable=False),
    # The newest one since a feed asked; empty: none. When the newest one of all began; 0: not known.
    Column("run_id", EscapedText, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
)

# How long after the provider's event people were deactivated.
feed_lags = Table(
    "feed_lags",
    metadata,
    Column("workspace", EscapedText, primary_key=True),
    Column("connector", EscapedText, primary_key=True),
    Column("person", EscapedText, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("lag", BigInteger, nullable=False),
)

# One row: the oldest schema whose release may use the state.
schema_support = Table(
    "schema_support",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("oldest", Text, nullable=False),
)

# When each schedule is due next, by the database's clock.
schedules = Table(
    "schedules",
    metadata,
    Column("name", EscapedText, primary_key=True),
    Column("next_at", BigInteger, nullable=False),
)

# Ticks and requested runs that have not ended, and ticks that no daemon continues.
jobs = Table(
    "jobs",
    metadata,
    # The key of the lease under which it is worked on.
    Column("id", EscapedText, primary_key=True),
    # Empty for a request.
    Column("schedule", EscapedText, nullable=False),
    # JSON: what to run, and the ids of its runs by workspace.
    Column("content", EscapedText, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # How often a daemon took it, and the id of the last one.
    Column("claims", Integer, nullable=False),
    Column("replica", EscapedText, nullable=False),
    # JSON: [step, done, total]; empty until it starts.
    Column("progress", EscapedText, nullable=False),
    # When it was stopped, and why; null and empty for one that goes on.
    Column("ended_at", BigInteger),
    Column("error", EscapedText, nullable=False),
)

# Browsers that are logged in to the page.
web_sessions = Table(
    "web_sessions",
    metadata,
    # A hash of the cookie.
    Column("id", Text, primary_key=True),
    Column("person", EscapedText, nullable=False),
    Column("role", Text, nullable=False),
    # Binds the row to a credential of the configuration, with which no one but the daemon can make it.
    Column("seal", Text, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
)

# Visitors who were sent to the identity provider and have not returned.
begun_logins = Table(
    "begun_logins",
    metadata,
    # A hash of the cookie.
    Column("id", Text, primary_key=True),
    Column("began_at", BigInteger, nullable=False),
)

# Addresses from which wrong tokens came.
failed_logins = Table(
    "failed_logins",
    metadata,
    Column("address", EscapedText, primary_key=True),
    # JSON: the times that count still, the oldest first.
    Column("times", Text, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)

# Since when the state knows a scheduled report: it is due at the moments of its schedule after that.
report_names = Table(
    "report_names",
    metadata,
    Column("name", EscapedText, primary_key=True),
    Column("since", BigInteger, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("id", EscapedText, primary_key=True),
    Column("name", EscapedText, nullable=False),
    Column("scheduled_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    # Who asked for it; empty for the schedule.
    Column("by", EscapedText, nullable=False),
    # How often its making began, and when it is tried again.
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", BigInteger),
    Column("made_at", BigInteger),
    Column("digest", Text, nullable=False),
    Column("title", EscapedText, nullable=False),
    Column("summary", EscapedText, nullable=False),
    # JSON, compressed with zlib; empty once a newer report was delivered.
    Column("facts", LargeBinary, nullable=False),
    # JSON: the scheduled moments before this one without a report.
    Column("missed", Text, nullable=False),
    Column("error", EscapedText, nullable=False),
    Index(None, "name", "scheduled_at"),
)

# The files of a report, compressed with zlib, while a delivery is pending.
report_files = Table(
    "report_files",
    metadata,
    Column("report", EscapedText, ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True),
    Column("file", EscapedText, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

report_deliveries = Table(
    "report_deliveries",
    metadata,
    Column("report", EscapedText, ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True),
    # The position of the target in `to`, and how it is shown: never its URL, which may hold a password.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("target", EscapedText, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("error", EscapedText, nullable=False),
)
