"""Since when each hold has been waiting: carried on from one plan of a workspace to the next.

A hold is the same as one of the plan before if its change, its code and its person are: else its member, else its
email. So the age outlives the runs that are deleted, and a hold that was gone for one run begins again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import orjson

from agent.model import Change, Hold, Plan
from agent.model.codes import waits_for_person
from agent.model.email import normalize
from agent.report.escape import escape_control
from agent.report.schema import HoldObject, PlannedObject

__all__ = [
    "HoldKey",
    "age_phrase",
    "count_holds",
    "has_plan",
    "held_since",
    "hold_key",
    "hold_object_key",
    "oldest_waiting",
    "waiting_since",
    "with_hold_ages",
]

HoldKey = tuple[str, str, str]
"""The kind of the change, the code of the hold, and whom it is about."""
UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def with_hold_ages(plan: Plan, earlier: Mapping[HoldKey, datetime], now: datetime) -> Plan:
    """Return *plan* with the time since which each hold waits: as in *earlier*, else *now*."""
    return replace(plan, holds=tuple(replace(hold, since=earlier.get(hold_key(hold), now)) for hold in plan.holds))


def has_plan(document: bytes) -> bool:
    """Return whether *document*, a workspace's object as the journal keeps it, is a plan: everything was read."""
    return bool(orjson.loads(document).get("status") == "planned")


def waiting_since(document: bytes, planned_at: datetime) -> Mapping[HoldKey, datetime]:
    """Return the times of the plan *document*.

    A release before this record wrote no times: then the holds have been waiting since *planned_at* or longer.
    """
    workspace = orjson.loads(document)
    times = held_since(workspace)
    return {
        hold_object_key(hold): datetime.fromisoformat(since) if since else planned_at
        for hold, since in zip(workspace["holds"], times, strict=True)
    }


def oldest_waiting(document: bytes, planned_at: datetime, released: Iterable[Change]) -> datetime | None:
    """Return the time of the oldest hold of the plan *document* that waits for a person.

    *released* are the changes that its run made: those that an approval released are holds of the plan, and wait no
    longer.
    """
    made = {(each.kind.value, _change_subject(each)) for each in released}
    times = waiting_since(document, planned_at)
    waiting = [
        since for (kind, code, who), since in times.items() if waits_for_person(code) and (kind, who) not in made
    ]
    return min(waiting, default=None)


def count_holds(document: bytes, released: Iterable[Change]) -> Mapping[str, int]:
    """Return how many holds of each code the plan *document* left. *released* is as in `oldest_waiting`."""
    made = {(each.kind.value, _change_subject(each)) for each in released}
    keys = map(hold_object_key, orjson.loads(document)["holds"])
    return Counter(code for kind, code, who in keys if (kind, who) not in made)


def held_since(workspace: PlannedObject) -> list[str]:
    """Return the time of each hold of *workspace*, in their order; empty texts where it is not recorded."""
    times = workspace.get("held_since", [])
    return times if len(times) == len(workspace["holds"]) else [""] * len(workspace["holds"])


def age_phrase(since: str, at: str, started_at: str = "") -> str:
    """Return "on hold since 2026-11-24 (2 days)", as of *at*; empty if *since* is not recorded.

    *started_at* is the start of the run: a hold that is not older is new in it.
    """
    if not since:
        return ""
    try:
        first, last = datetime.fromisoformat(since), datetime.fromisoformat(at)
        if started_at and first >= datetime.fromisoformat(started_at):
            return "on hold since this run"
        seconds = (last - first).total_seconds()
    except (ValueError, TypeError):
        # A saved plan that someone has edited.
        return f"on hold since {escape_control(since)}"
    span = next((_count(seconds, size, unit) for unit, size in UNITS if seconds >= size), "less than a minute")
    day = f"{first:%Y-%m-%d}" if seconds >= UNITS[0][1] else f"{first:%Y-%m-%d %H:%M} UTC"
    return f"on hold since {day} ({span})"


def _count(seconds: float, size: int, unit: str) -> str:
    number = int(seconds // size)
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"


def hold_key(hold: Hold) -> HoldKey:
    """Return the key by which later runs know *hold* again."""
    person = None if hold.person is None else (hold.person.connector, hold.person.id)
    return hold.kind.value, str(hold.code), _subject(person, hold.scim_id, hold.email)


def _change_subject(change: Change) -> str:
    person = None if change.person is None else (change.person.connector, change.person.id)
    return _subject(person, change.scim_id, change.before.email or change.email)


def hold_object_key(hold: HoldObject) -> HoldKey:
    """Return the key of a hold of the document, the same as that of the hold itself."""
    person = hold.get("person")
    who = None if person is None else (person["connector"], person["id"])
    return hold["kind"], hold["code"], _subject(who, hold.get("scim_id"), hold["email"])


def _subject(person: tuple[str, str] | None, scim_id: str | None, email: str) -> str:
    return ":".join(person) if person else f"member {scim_id}" if scim_id else normalize(email)
