"""The changes of the journal, each with its outcome: written before it is sent and after its response."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Select,
    Table,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    update,
)

from agent.guard.count_table import COUNT_GUARDS, ChangeFilter
from agent.model import Kind, RecentChanges, UnconfirmedCreate, Written
from agent.model.codes import GuardCode
from agent.model.run import ChangeRecord, Outcome, RunStatus, contested_members, written_since
from agent.model.run import written as written_changes
from agent.store import targets
from agent.store.codec import change_from_json, change_to_json, from_micros, to_micros
from agent.store.tables import changes, runs
from agent.store.text import address_key
from agent.store.upsert import upsert

__all__ = [
    "IN_FLIGHT_OUTCOME",
    "change_rows",
    "count_changes",
    "insert_change_rows",
    "insert_if_absent",
    "load_changes",
    "load_contested_members",
    "load_in_flight",
    "load_member_changes",
    "load_recent_changes",
    "load_recent_deactivations",
    "load_unconfirmed_creates",
    "record_answers",
    "record_create_checks",
    "record_intents",
    "unconfirmed_create_condition",
    "written",
]

# Changes that may have taken effect count against the limits of the last 60 minutes.
COUNTED_OUTCOMES = (Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED)
DEACTIVATIONS = next(guard.counts for guard in COUNT_GUARDS if guard.code is GuardCode.MAX_DEACTIVATIONS)
IN_FLIGHT_OUTCOME = Outcome.UNKNOWN
# No parameter: an index on a part of the rows serves only a query that names the same part.
IS_SENT = changes.c.kind != literal_column(f"'{Kind.ADOPT}'")
"""The condition for changes that were sent to the workspace: adoptions are not, and count for no guard."""
# A create without a response may have taken effect. It is looked for at least this long, and until this many complete
# listings in a row have no member for it. Thus an agent that was down for a week does not drop it without looking.
CREATE_CONFIRMATION_PERIOD = timedelta(days=7)
MIN_ABSENCES = 3
# For this long, a create that the workspace accepted is not repeated, however many listings lack it.
ACCEPTED_CREATE_PERIOD = timedelta(hours=1)
ROWS_AT_ONCE = 5_000
"""How many rows are made at once: as rows, changes take several times their room."""
ANSWERED_COLUMNS = ("change", "scim_id", "outcome", "detail", "sent_at", "answered_at", "accepted")
"""What an outcome changes in the row of its intent."""


def record_intents(connection: Connection, workspace: str, records: Sequence[ChangeRecord]) -> None:
    """Write changes, in flight or done. Without a later outcome, the result of a change in flight is unknown.

    A change that exists already was written by this same call, before the connection was lost.
    """
    insert_change_rows(connection, change_rows(workspace, records))


def change_rows(workspace: str, records: Sequence[ChangeRecord]) -> list[dict[str, Any]]:
    """Return the rows for `insert_change_rows`: for many records, make them before the transaction begins."""
    return [_change_row(workspace, record) for record in records]


def insert_change_rows(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert_if_absent(connection, changes), rows)


def load_in_flight(connection: Connection, workspace: str) -> tuple[ChangeRecord, ...]:
    """Return the changes of running runs that are sent, or about to be, and have no response yet."""
    running = select(runs.c.id).where(and_(runs.c.workspace == workspace, runs.c.status == RunStatus.RUNNING))
    is_flying = and_(
        changes.c.run_id.in_(running), changes.c.outcome == IN_FLIGHT_OUTCOME, changes.c.answered_at.is_(None)
    )
    return tuple(_load_records(connection, select(changes).where(is_flying).order_by(changes.c.run_id, changes.c.seq)))


def insert_if_absent(connection: Connection, table: Table) -> Insert:
    return _insertion(table, is_sqlite=connection.dialect.name == "sqlite")


# These two are built once: for each write to a workspace, building them would cost more than to execute them.
@cache
def _insertion(table: Table, *, is_sqlite: bool) -> Insert:
    return upsert(table, is_sqlite=is_sqlite).on_conflict_do_nothing()


@cache
def _answering(*, is_sqlite: bool) -> Insert:
    inserting = upsert(changes, is_sqlite=is_sqlite)
    return inserting.on_conflict_do_update(
        index_elements=[changes.c.run_id, changes.c.seq],
        set_={name: inserting.excluded[name] for name in ANSWERED_COLUMNS},
    )


def record_answers(connection: Connection, workspace: str, records: Sequence[ChangeRecord]) -> None:
    """Write the outcomes of changes over their intents, if any. An outcome may know more of the state before."""
    answering = _answering(is_sqlite=connection.dialect.name == "sqlite")
    # A run that lost its lease has one for each change that it did not try.
    for start in range(0, len(records), ROWS_AT_ONCE):
        connection.execute(answering, change_rows(workspace, records[start : start + ROWS_AT_ONCE]))


def _change_row(workspace: str, record: ChangeRecord) -> dict[str, Any]:
    change = record.change
    return {
        "run_id": record.run_id,
        "seq": record.seq,
        "workspace": workspace,
        "kind": change.kind,
        "changes_email": change.changes_email,
        "change": change_to_json(change),
        "email": address_key(change.email),
        "former_email": address_key(change.before.email or ""),
        **_outcome_columns(record),
    }


def _outcome_columns(record: ChangeRecord) -> dict[str, Any]:
    return {
        "scim_id": record.scim_id,
        "outcome": record.outcome,
        "detail": record.detail,
        "sent_at": to_micros(record.sent_at),
        "answered_at": to_micros(record.answered_at) if record.answered_at else None,
        "accepted": record.is_accepted or None,
    }


def unconfirmed_create_condition(now: datetime) -> ColumnElement[bool]:
    """Return the condition for unconfirmed creates that are still looked for."""
    return and_(
        changes.c.kind == Kind.CREATE,
        changes.c.outcome.in_((Outcome.UNKNOWN, Outcome.NOT_PERSISTED)),
        or_(
            changes.c.sent_at >= to_micros(now - CREATE_CONFIRMATION_PERIOD),
            func.coalesce(changes.c.absences, 0) < MIN_ABSENCES,
        ),
    )


def load_unconfirmed_creates(connection: Connection, workspace: str, now: datetime) -> tuple[UnconfirmedCreate, ...]:
    """Return the creates with an unknown outcome, in the order of sending."""
    query = select(changes).where(and_(_changes_of_workspace(connection, workspace), unconfirmed_create_condition(now)))
    found = []
    # Sorted here, as below.
    for row in sorted(connection.execute(query), key=lambda row: (row.sent_at, row.run_id, row.seq)):
        change = change_from_json(row.change)
        is_over = (row.absences or 0) >= MIN_ABSENCES and row.sent_at < to_micros(now - ACCEPTED_CREATE_PERIOD)
        if change.person is not None:
            name, groups = change.display_name, change.group_refs
            found.append(
                UnconfirmedCreate(
                    person=change.person,
                    email=change.email,
                    display_name=name,
                    run_id=row.run_id,
                    seq=row.seq,
                    scim_id=row.scim_id,
                    is_awaited=row.accepted is True and not is_over,
                    may_appear=not is_over,
                    groups=groups,
                )
            )
    return tuple(found)


def record_create_checks(connection: Connection, looked_for: Sequence[UnconfirmedCreate]) -> None:
    """Write what a complete listing had for each create."""
    absent = func.coalesce(changes.c.absences, 0) + 1
    for each in looked_for:
        seen = {"scim_id": each.scim_id, "absences": 0} if each.scim_id else {"absences": absent}
        is_it = and_(changes.c.run_id == each.run_id, changes.c.seq == each.seq)
        connection.execute(update(changes).where(is_it).values(**seen))


def _changes_of_workspace(connection: Connection, workspace: str) -> ColumnElement[bool]:
    """Return the condition for changes to the current target of the key *workspace*, under any key.

    A target before a reset is another workspace: its changes are neither counted nor checked here.
    """
    known = targets.load_fingerprints(connection)
    if workspace not in known:
        return changes.c.workspace == workspace
    is_known = or_(runs.c.target == known[workspace], runs.c.target.is_(None))
    of_run = select(runs.c.id).where(and_(runs.c.id == changes.c.run_id, is_known)).exists()
    return and_(changes.c.workspace.in_(targets.keys_of_same_target(known, workspace)), of_run)


def load_recent_changes(connection: Connection, workspace: str, since: datetime) -> RecentChanges:
    """Return for each counting guard who was, or may have been, changed since *since*."""
    counted = and_(
        _changes_of_workspace(connection, workspace),
        IS_SENT,
        changes.c.sent_at >= to_micros(since),
        changes.c.outcome.in_(COUNTED_OUTCOMES),
    )
    of_any_guard = or_(*(_condition(guard.counts) for guard in COUNT_GUARDS))
    # Only the JSON of a create has its person.
    person = case((changes.c.kind == Kind.CREATE, changes.c.change))
    columns = changes.c.kind, changes.c.changes_email, changes.c.scim_id, person
    # One query for all guards: after a first sync of creates each reads a row of every member.
    rows = connection.execute(select(*columns).where(and_(counted, of_any_guard)))
    found = [
        (Kind(kind), moves, scim_id if change is None else change_from_json(change).person)
        for kind, moves, scim_id, change in rows
    ]
    return {
        guard.code: frozenset(
            subject
            for kind, moves, subject in found
            if subject is not None and guard.counts.accepts(kind, changes_email=moves)
        )
        for guard in COUNT_GUARDS
    }


def load_recent_deactivations(
    connection: Connection, workspaces: Sequence[str], since: datetime
) -> dict[str, frozenset[str]]:
    """Return what `load_recent_changes` counts as deactivations, by workspace, with two queries for all."""
    known = targets.load_fingerprints(connection)
    same: dict[str, set[str]] = {}
    for key, fingerprint in known.items():
        same.setdefault(fingerprint, set()).add(key)
    keys = {name: {name} | same.get(known.get(name, ""), set()) for name in workspaces}
    query = (
        select(changes.c.workspace, runs.c.target, changes.c.scim_id)
        .distinct()
        .join(runs, runs.c.id == changes.c.run_id)
        .where(
            changes.c.workspace.in_(set().union(*keys.values())),
            IS_SENT,
            changes.c.sent_at >= to_micros(since),
            changes.c.outcome.in_(COUNTED_OUTCOMES),
            _condition(DEACTIVATIONS),
            changes.c.scim_id.is_not(None),
        )
    )
    found = connection.execute(query).all()
    return {
        name: frozenset(
            scim_id
            for key, target, scim_id in found
            if key in keys[name] and (name not in known or target in {None, known[name]})
        )
        for name in workspaces
    }


def _condition(wanted: ChangeFilter) -> ColumnElement[bool]:
    """Return the condition for the changes that `ChangeFilter.matches` accepts."""
    of_kind = changes.c.kind.in_(wanted.kinds)
    return and_(of_kind, changes.c.changes_email) if wanted.only_email_changes else of_kind


def load_contested_members(connection: Connection, workspace: str, since: datetime) -> dict[str, tuple[datetime, ...]]:
    """Return the times of deactivations since *since* that another tool reverted: see `agent.model.run`."""
    is_recent = and_(_changes_of_workspace(connection, workspace), IS_SENT, changes.c.sent_at >= to_micros(since))
    deactivated = and_(is_recent, changes.c.kind == Kind.DEACTIVATE, changes.c.outcome == Outcome.DONE)
    # A reactivation of ours that may have taken effect is not another tool's.
    kinds = (Kind.DEACTIVATE, Kind.CREATE, Kind.REACTIVATE)
    may_be_made = and_(is_recent, changes.c.kind.in_(kinds), changes.c.outcome.in_(COUNTED_OUTCOMES))
    twice = select(changes.c.scim_id).where(deactivated).group_by(changes.c.scim_id).having(func.count() > 1)
    rows = connection.execute(
        select(changes.c.scim_id, changes.c.kind, changes.c.sent_at, changes.c.outcome)
        .where(and_(may_be_made, changes.c.scim_id.in_(twice)))
        .order_by(changes.c.sent_at, changes.c.seq)
    )
    return contested_members(
        (scim_id, Kind(kind), from_micros(at), Outcome(outcome)) for scim_id, kind, at, outcome in rows
    )


def written(connection: Connection, workspace: str, now: datetime, left_at: datetime | None) -> tuple[Written, ...]:
    """Return what our runs recently wrote to members, or may have written: see `agent.model.run`."""
    since = changes.c.sent_at >= to_micros(written_since(now, left_at))
    may_be_made = and_(IS_SENT, changes.c.outcome.in_(COUNTED_OUTCOMES), changes.c.scim_id.is_not(None))
    query = select(changes).where(and_(_changes_of_workspace(connection, workspace), since, may_be_made))
    # Of a first sync they are as many as its members.
    return written_changes(_read_records(connection, query), now, left_at)


def load_changes(connection: Connection, run_id: str) -> list[ChangeRecord]:
    return _load_records(connection, select(changes).where(changes.c.run_id == run_id).order_by(changes.c.seq))


def count_changes(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, Mapping[Kind, int]]:
    """Return for each run how many changes of each kind were made."""
    query = (
        select(changes.c.run_id, changes.c.kind, func.count())
        .where(and_(changes.c.run_id.in_(run_ids), changes.c.outcome == Outcome.DONE))
        .group_by(changes.c.run_id, changes.c.kind)
    )
    counts: dict[str, dict[Kind, int]] = {}
    for run_id, kind, count in connection.execute(query):
        counts.setdefault(run_id, {})[Kind(kind)] = count
    return counts


def load_member_changes(
    connection: Connection, workspace: str, limit: int, email: str, scim_id: str
) -> list[ChangeRecord]:
    """Return the changes of a member or of an email, current or previous, newest first."""
    about = []
    if email:
        about += [changes.c.email == address_key(email), changes.c.former_email == address_key(email)]
    if scim_id:
        about.append(changes.c.scim_id == scim_id)
    query = select(changes).where(changes.c.workspace == workspace)
    if not about:
        newest_first = changes.c.sent_at.desc(), changes.c.seq.desc()
        return _load_records(connection, query.order_by(*newest_first).limit(limit))
    # Combined and sorted here: SQLite would search the whole journal of the workspace for these few, newest first.
    found = {
        (record.run_id, record.seq): record
        for condition in about
        for record in _read_records(connection, query.where(condition))
    }
    return sorted(found.values(), key=lambda record: (record.sent_at, record.seq), reverse=True)[:limit]


def _load_records(connection: Connection, query: Select[Any]) -> list[ChangeRecord]:
    return list(_read_records(connection, query))


def _read_records(connection: Connection, query: Select[Any]) -> Iterator[ChangeRecord]:
    for row in connection.execute(query):
        yield ChangeRecord(
            run_id=row.run_id,
            seq=row.seq,
            change=change_from_json(row.change),
            outcome=Outcome(row.outcome),
            detail=row.detail,
            sent_at=from_micros(row.sent_at),
            answered_at=None if row.answered_at is None else from_micros(row.answered_at),
            scim_id=row.scim_id,
            is_accepted=row.accepted is True,
        )
