"""Okta's System Log: what happened in the org, as `GET /api/v1/logs` polls it.

Source: okta-developer-docs, System Log query; the types are those of its list of event types (2026-08-06). Events are
in the order in which they were persisted. A `next` link is always there, and stays the same while nothing is new.
"""

from __future__ import annotations

import heapq
import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from starlette.datastructures import URL, QueryParams

from sandbox.company import App, Directory
from sandbox.company.events import CompanyEvent, EventLog, Happening
from sandbox.okta.errors import OktaError, invalid_cursor

__all__ = ["LogOptions", "SystemLog"]

JsonObject = dict[str, object]

USER_TYPES = {
    Happening.DEACTIVATED: "user.lifecycle.deactivate",
    Happening.SUSPENDED: "user.lifecycle.suspend",
    Happening.REINSTATED: "user.lifecycle.activate",
    Happening.RENAMED: "user.account.update_profile",
    Happening.DELETED: "user.lifecycle.delete.initiated",
    Happening.HIRED: "user.lifecycle.create",
}
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
DEFAULT_SPAN_SECONDS = 7 * 86_400
ACTOR = {"id": "00uadmin1acme0001", "type": "User", "alternateId": "admin@acme.com", "displayName": "Admin"}
AGE_STEP = 1_000_000_000
CURSOR = re.compile(r"(\d+)_(\d+)")
TERM = re.compile(r'\s*eventType\s+eq\s+"([\w.]+)"\s*')


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What differs between orgs, and what goes wrong."""

    delay_seconds: float = 0.0
    """How long after it happened an event is persisted."""
    job_seconds: float = 0.0
    """How long after that what a job does is persisted: the assignments that a person loses with a group."""
    late_share: float = 0.0
    """The share of events that are persisted *late_seconds* later, and so after newer ones."""
    late_seconds: float = 30.0
    doubled_share: float = 0.0
    lost_share: float = 0.0
    """The share of events that are never persisted."""
    shuffles_targets: bool = False


class _Made(NamedTuple):
    """An event before it is persisted, *delay* seconds after what happened."""

    event_type: str
    targets: list[JsonObject]
    delay: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class _Persisted:
    at: float
    number: int
    published: float = field(compare=False)
    event: JsonObject = field(compare=False)


class SystemLog:
    """The log of one org. It gets the happenings of *source* that concern *directory*."""

    def __init__(self, directory: Directory, source: EventLog, seed: int = 1) -> None:
        self.options = LogOptions()
        self.is_empty = False
        """Show no events, as in an org whose log was lost."""
        self._directory = directory
        self._source = source
        self._chance = random.Random(seed)
        self._count = 0
        self._pending: list[_Persisted] = []
        self._persisted: list[_Persisted] = []
        self._age = 0
        source.listeners.append(self._on_event)

    def expire_cursors(self) -> None:
        """Refuse all cursors so far."""
        self._age += 1

    def query(self, url: URL, params: QueryParams) -> tuple[list[JsonObject], str]:
        """Return the events of a polling request, and its `next` link. Raises `OktaError`."""
        self._persist_due()
        limit, wanted = _limit(params.get("limit")), _types(params.get("filter"))
        start = self._first_position(params)
        found = [
            place
            for place, entry in enumerate(self._persisted[start:], start)
            if not self.is_empty and (wanted is None or entry.event["eventType"] in wanted)
        ][:limit]
        # While nothing matches, the cursor stays what it was.
        position = found[-1] + 1 if found else start
        at = self._persisted[position - 1].at if position else 0.0
        kept = {name: value for name, value in params.items() if name not in {"after", "since"}}
        cursor = f"{int(at * 1000)}_{self._age * AGE_STEP + position}"
        following = url.replace(query="").include_query_params(**kept, after=cursor)
        return [self._persisted[place].event for place in found], str(following)

    def _first_position(self, params: QueryParams) -> int:
        if params.get("sortOrder", "ASCENDING") != "ASCENDING":
            raise OktaError(400, "E0000001", "Api validation failed: sortOrder", "sortOrder: only ASCENDING here.")
        after, since = params.get("after"), params.get("since")
        if after is not None and since is not None:
            raise OktaError(400, "E0000001", "Api validation failed: since", "since: not together with after.")
        return self._start(since) if after is None else self._position(after)

    def _start(self, since: str | None) -> int:
        if since is None:
            begins = self._source.now() - DEFAULT_SPAN_SECONDS
        else:
            try:
                begins = datetime.fromisoformat(since).timestamp()
            except ValueError:
                raise OktaError(400, "E0000001", "Api validation failed: since", "since: no date.") from None
        return next((at for at, each in enumerate(self._persisted) if each.published >= begins), len(self._persisted))

    def _position(self, after: str) -> int:
        found = CURSOR.fullmatch(after)
        age, position = divmod(int(found[2]), AGE_STEP) if found else (-1, 0)
        if age != self._age or position > len(self._persisted):
            raise invalid_cursor()
        return position

    def _on_event(self, event: CompanyEvent) -> None:
        if event.directory == self._directory.name:
            for made in self._from_event(event):
                self._append(made, event.at + made.delay)

    def _append(self, made: _Made, published: float) -> None:
        chance, options = self._chance, self.options
        is_lost, is_late, is_doubled = (
            chance.random() < share for share in (options.lost_share, options.late_share, options.doubled_share)
        )
        at = published + options.delay_seconds + (options.late_seconds if is_late else 0)
        event = self._log_event(made, published)
        for _ in range(0 if is_lost else 2 if is_doubled else 1):
            self._count += 1
            heapq.heappush(self._pending, _Persisted(at, self._count, published, event))

    def _persist_due(self) -> None:
        now = self._source.now()
        while self._pending and self._pending[0].at <= now:
            self._persisted.append(heapq.heappop(self._pending))

    def _from_event(self, event: CompanyEvent) -> Iterator[_Made]:
        """Yield the events of one happening. What a person gets or loses by it, a job does later."""
        match event.happening:
            case Happening.JOINED | Happening.QUIT:
                yield from self._membership_events(event)
            case Happening.ASSIGNED | Happening.UNASSIGNED:
                word = "add" if event.happening is Happening.ASSIGNED else "remove"
                yield self._app_user_event(word, event.person, self._directory.apps[event.app], 0)
            case Happening.GROUP_ASSIGNED | Happening.GROUP_UNASSIGNED:
                yield from self._group_assignment_events(event)
            case Happening.GROUP_DELETED:
                yield _Made("group.lifecycle.delete", [self._group(event.group)])
            case _:
                yield _Made(USER_TYPES[event.happening], [self._user(event.person)])
                if event.happening is Happening.DEACTIVATED:
                    for app in self._apps_of_person(event.person):
                        yield self._app_user_event("remove", event.person, app, self.options.job_seconds)

    def _membership_events(self, event: CompanyEvent) -> Iterator[_Made]:
        word = "add" if event.happening is Happening.JOINED else "remove"
        yield _Made(f"group.user_membership.{word}", [self._user(event.person), self._group(event.group)])
        for app in self._directory.apps.values():
            is_still_assigned = event.person in self._directory.assignments(app)
            if event.group in app.groups and is_still_assigned == (word == "add"):
                yield self._app_user_event(word, event.person, app, self.options.job_seconds)

    def _group_assignment_events(self, event: CompanyEvent) -> Iterator[_Made]:
        word = "add" if event.happening is Happening.GROUP_ASSIGNED else "remove"
        app = self._directory.apps[event.app]
        yield _Made(f"group.application_assignment.{word}", [self._group(event.group), _app_target(app)])
        assigned = self._directory.assignments(app)
        for key in list(self._directory.groups[event.group].people):
            if (key in assigned) == (word == "add"):
                yield self._app_user_event(word, key, app, self.options.job_seconds)

    def _app_user_event(self, word: str, person: str, app: App, delay: float) -> _Made:
        user = self._user(person)
        # The id of an application's user in the log is not the one in its list of people.
        targets = [{**user, "id": f"0ua{person[3:]}", "type": "AppUser"}, _app_target(app), user]
        return _Made(f"application.user_membership.{word}", targets, delay)

    def _apps_of_person(self, person: str) -> list[App]:
        """Return the active applications: assignments to an inactive one stay."""
        apps = self._directory.apps.values()
        return [app for app in apps if app.active and person in self._directory.assignments(app)]

    def _user(self, key: str) -> JsonObject:
        person = self._directory.people.get(key) or self._directory.deleted.get(key)
        return _target(key, "User", person.email if person else key, person.display_name if person else key)

    def _group(self, key: str) -> JsonObject:
        group = self._directory.groups.get(key)
        return _target(key, "UserGroup", "unknown", group.name if group else key)

    def _log_event(self, made: _Made, published: float) -> JsonObject:
        event_type, targets = made.event_type, made.targets
        if self.options.shuffles_targets:
            targets = self._chance.sample(targets, len(targets))
        is_job = event_type.startswith("application.user_membership.")
        return {
            "uuid": str(uuid.UUID(int=self._chance.getrandbits(128), version=4)),
            "published": _format_time(published),
            "eventType": event_type,
            "version": "0",
            "severity": "INFO",
            "displayMessage": event_type,
            "actor": {**ACTOR, "detailEntry": None},
            "outcome": {"result": "SUCCESS", "reason": None},
            "transaction": {"type": "JOB" if is_job else "WEB", "id": f"tx{published:.0f}", "detail": {}},
            "target": targets,
        }


def _target(key: str, kind: str, alternate: str, name: str) -> JsonObject:
    return {"id": key, "type": kind, "alternateId": alternate, "displayName": name, "detailEntry": None}


def _app_target(app: App) -> JsonObject:
    return _target(app.id, "AppInstance", app.name, app.name)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit() or int(text) > MAX_LIMIT:
        raise OktaError(400, "E0000001", "Api validation failed: limit", f"limit: a number from 0 to {MAX_LIMIT}.")
    return int(text)


def _types(expression: str | None) -> frozenset[str] | None:
    """Return the event types of a filter that only names types; anything else is not modelled, and refused."""
    if expression is None:
        return None
    found = [TERM.fullmatch(term) for term in expression.split(" or ")]
    if not all(found):
        raise OktaError(400, "E0000053", "Invalid filter", f"Invalid filter: {expression[:100]}")
    return frozenset(each[1] for each in found if each)


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
