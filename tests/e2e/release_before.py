"""The statements of a process of the previous release, on a state that this release has migrated in the meantime.

They are those of schema 0004, written out, so that no change of this release's code can change them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, create_engine, text

from sandbox.company import Person

__all__ = ["ReleaseBefore", "release_before"]

INSERT_LEASE = """INSERT INTO leases (workspace, holder, since, renewed_at, fence)
    VALUES (:workspace, '', 0, 0, 0) ON CONFLICT DO NOTHING"""
TAKE_LEASE = """UPDATE leases SET holder = :holder, since = :at, renewed_at = :renewed, fence = fence + 1
    WHERE workspace = :workspace"""
INSERT_RUN = """INSERT INTO runs (id, workspace, "trigger", dry_run, status, started_at, finished_at, "by", reason,
    approved, digest, document, error, guarded, requests, for_user)
    VALUES (:run, :workspace, 'schedule', :no, 'running', :at, NULL, '', '', NULL, NULL, NULL, '', NULL, 0, '')"""
SET_PLAN = "UPDATE runs SET digest = :digest, document = :document, approved = NULL WHERE id = :run"
END_RUN = """UPDATE runs SET status = 'done', error = '', guarded = :guarded, requests = 2, finished_at = :at,
    active = :guarded, changed = 1, held = 0, failed = 0 WHERE id = :run"""
INSERT_CHANGE = """INSERT INTO changes (run_id, seq, workspace, kind, changes_email, change, email, former_email,
    scim_id, outcome, detail, sent_at, answered_at)
    VALUES (:run, 0, :workspace, :kind, :no, :change, :email, '', :scim_id, 'unknown', '', :at, NULL)"""
ANSWER = """UPDATE changes SET scim_id = :scim_id, outcome = 'done', detail = '', sent_at = :at, answered_at = :at
    WHERE run_id = :run AND seq = 0"""
FORGET_LINK = "DELETE FROM links WHERE workspace = :workspace AND (person = :person OR scim_id = :scim_id)"
INSERT_LINK = """INSERT INTO links (workspace, connector, person, scim_id, groups, missed_reads)
    VALUES (:workspace, :connector, :person, :scim_id, :groups, 0)"""
SEE_LINKS = "UPDATE links SET groups = groups, missed_reads = 0 WHERE workspace = :workspace"
FORGET_RENAMES = "DELETE FROM possible_renames WHERE workspace = :workspace"
READ_RENAMES = "SELECT connector, person, scim_id FROM possible_renames WHERE workspace = :workspace"
INSERT_RENAME = """INSERT INTO possible_renames (workspace, connector, person, scim_id)
    VALUES (:workspace, :connector, :person, :scim_id)"""
READ_BASELINES = "SELECT connector, group_id, name, people FROM baselines WHERE workspace = :workspace"
FORGET_BASELINE = """DELETE FROM baselines
    WHERE workspace = :workspace AND connector = :connector AND group_id = :group_id"""
INSERT_BASELINE = """INSERT INTO baselines (workspace, connector, group_id, name, people)
    VALUES (:workspace, :connector, :group_id, :name, :people)"""
READ_LEFT = "SELECT members FROM left_members WHERE workspace = :workspace ORDER BY taken_at DESC LIMIT 1"
INSERT_LEFT = """INSERT INTO left_members (run_id, workspace, taken_at, members)
    VALUES (:run, :workspace, :at, :members)"""
INSERT_PAUSE = """INSERT INTO pauses (workspace, since, "by", reason) VALUES (:workspace, :at, 'ops', 'an upgrade')"""


@dataclass
class ReleaseBefore:
    """A process of the previous release that works on one workspace."""

    connection: Connection
    workspace: str
    connector: str
    group: tuple[str, str]

    def hold_lease(self) -> None:
        self._do(INSERT_LEASE)
        self._take_lease(is_held=True)

    def release_lease(self) -> None:
        self._do("UPDATE leases SET renewed_at = 0 WHERE workspace = :workspace")

    def pause(self) -> None:
        self._do(INSERT_PAUSE)

    def send_create(self, run: str, person: Person) -> None:
        """Begin a run, and crash after a create was sent."""
        self._do(INSERT_LEASE)
        self._take_lease(is_held=False)
        self._do(INSERT_RUN, run=run)
        self._do(SET_PLAN, run=run, digest=f"sha256:{run}", document=zlib.compress(b'{"name": "x"}'))
        self._change(run, "create", person, None)

    def make(self, run: str, person: Person, scim_id: str) -> None:
        """Make a whole run that created *scim_id* for *person*."""
        self.send_create(run, person)
        self._do(ANSWER, run=run, scim_id=scim_id)
        link = {"connector": self.connector, "person": person.id, "scim_id": scim_id}
        self._do(FORGET_LINK, person=person.id, scim_id=scim_id)
        self._do(INSERT_LINK, **link, groups=orjson.dumps([list(self.group)]).decode())
        row = [scim_id, person.email, name(person), True, [self.connector, person.id], [self.group[1]]]
        self._remember(run, row)

    def deactivate(self, run: str, person: Person, scim_id: str) -> None:
        """Make a whole run that deactivated *scim_id*, the member of *person*."""
        self._do(INSERT_LEASE)
        self._take_lease(is_held=False)
        self._do(INSERT_RUN, run=run)
        self._change(run, "deactivate", person, scim_id)
        self._do(ANSWER, run=run, scim_id=scim_id)
        self._remember(run, [scim_id, person.email, name(person), False, [self.connector, person.id], []])

    def _take_lease(self, *, is_held: bool) -> None:
        at = now()
        self._do(TAKE_LEASE, holder="older, process 7", renewed=at if is_held else 0)

    def _change(self, run: str, kind: str, person: Person, scim_id: str | None) -> None:
        none = {"email": None, "display_name": None, "active": None}
        is_create = kind == "create"
        change = {
            "kind": kind,
            "email": person.email,
            "display_name": name(person),
            "scim_id": scim_id,
            "code": "assigned" if is_create else "left-groups",
            "reason": "As the release before said it.",
            "waits_for": None,
            "given_name": person.given if is_create else "",
            "family_name": person.family if is_create else "",
            "person": [self.connector, person.id],
            "before": none if is_create else {**none, "active": True},
            "after": {**none, "active": is_create},
            "group_refs": [list(self.group)],
        }
        spelled = orjson.dumps(change, option=orjson.OPT_SORT_KEYS).decode()
        self._do(INSERT_CHANGE, run=run, kind=kind, change=spelled, email=person.email.lower(), scim_id=scim_id)

    def _remember(self, run: str, member: list[Any]) -> None:
        self._do(SEE_LINKS)
        renames = self._do(READ_RENAMES)
        self._do(FORGET_RENAMES)
        for each in renames:
            self._do(INSERT_RENAME, **each)
        for each in self._do(READ_BASELINES):
            self._do(FORGET_BASELINE, **each)
            self._do(INSERT_BASELINE, **each)
        (left,) = self._do(READ_LEFT)
        known = [each for each in orjson.loads(zlib.decompress(left["members"])) if each[0] != member[0]]
        self._do(INSERT_LEFT, run=run, members=zlib.compress(orjson.dumps([*known, member])))
        self._do(END_RUN, run=run, guarded=sum(each[3] for each in [*known, member]))

    def _do(self, statement: str, **values: object) -> list[Mapping[str, Any]]:
        usual = {"workspace": self.workspace, "at": now(), "no": False}
        found = self.connection.execute(text(statement), {**usual, **values})
        return [dict(each) for each in found.mappings()] if found.returns_rows else []


def name(person: Person) -> str:
    return f"{person.given} {person.family}"


def now() -> int:
    return (datetime.now(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@contextmanager
def release_before(url: str, workspace: str, connector: str, group: tuple[str, str]) -> Iterator[ReleaseBefore]:
    """Yield a process of the previous release; its statements are committed at the end."""
    engine = create_engine(url)
    with engine.begin() as connection:
        yield ReleaseBefore(connection, workspace, connector, group)
    engine.dispose()
