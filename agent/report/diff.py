"""Describe in lines how a fresh plan differs from the approved one, so that a stale approval explains itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import orjson

from agent.report.escape import escape_control
from agent.report.schema import PlannedObject, SourceObject, WorkspaceObject

__all__ = ["diff_lines"]

MAX_LINES = 50
FIELD_LABELS = {"display_name": "name", "active": "status"}

_Entry = Mapping[str, object]


def diff_lines(approved: WorkspaceObject, fresh: WorkspaceObject, most: int = MAX_LINES) -> tuple[str, ...]:
    """Return at most *most* lines, and one that counts the rest; empty if the digests are equal.

    Changes come first, because an approval is about them; then holds, notes and the numbers of what was read.
    """
    lines = list(_all_lines(approved, fresh))
    if not lines and approved["digest"] != fresh["digest"]:
        lines = ["the plans differ in details that a report does not show"]
    if len(lines) > most:
        lines = [*lines[:most], f"and {len(lines) - most:,} more differences"]
    return tuple(lines)


def _all_lines(approved: WorkspaceObject, fresh: WorkspaceObject) -> Iterator[str]:
    for key in ("name", "mode", "status"):
        yield from _value_lines(key, approved, fresh)
    if approved["status"] != "planned" or fresh["status"] != "planned":
        yield from _unplanned_lines(approved, fresh)
        return
    yield from _entry_lines("change", approved["changes"], fresh["changes"])
    yield from _order_lines(approved, fresh)
    yield from _entry_lines("hold", approved["holds"], fresh["holds"])
    yield from _entry_lines("note", approved["notes"], fresh["notes"])
    yield from _count_lines(approved, fresh)


def _unplanned_lines(approved: WorkspaceObject, fresh: WorkspaceObject) -> Iterator[str]:
    """Yield why a plan is missing; at least one of the two could not be planned."""
    for when, one in (("now", fresh), ("then", approved)):
        if one["status"] != "planned":
            yield f"could not be planned {when}: {escape_control(one['error']['message'])}"


def _value_lines(what: str, was: object, now: object, key: str = "") -> Iterator[str]:
    before = cast("_Entry", was)[key or what]
    after = cast("_Entry", now)[key or what]
    if before != after:
        yield f"{what}: was {_format_value(before)}, is {_format_value(after)}"


def _entry_lines(word: str, approved: Sequence[object], fresh: Sequence[object]) -> Iterator[str]:
    was = _by_subject(cast("Sequence[_Entry]", approved))
    now = _by_subject(cast("Sequence[_Entry]", fresh))
    for subject in [*now, *(one for one in was if one not in now)]:
        old, new = _unmatched(was.get(subject, []), now.get(subject, []))
        for before, after in zip(old, new, strict=False):
            yield f"{word} differs: {_entry_label(after)}"
            yield from _changed_fields(before, after)
        for entry in new[len(old) :]:
            yield f"{word} is new: {_entry_label(entry)}: {escape_control(str(entry['reason']))}"
        for entry in old[len(new) :]:
            yield f"{word} is gone: {_entry_label(entry)}"


def _by_subject(entries: Sequence[_Entry]) -> dict[object, list[_Entry]]:
    """Group entries by their subject: the person, else the member, else the address."""
    found: dict[object, list[_Entry]] = defaultdict(list)
    for entry in entries:
        person = cast("Mapping[str, str] | None", entry.get("person"))
        who = (person["connector"], person["id"]) if person else entry.get("scim_id") or entry["email"]
        found[entry.get("kind", entry["code"]), who].append(entry)
    return found


def _unmatched(was: list[_Entry], now: list[_Entry]) -> tuple[list[_Entry], list[_Entry]]:
    before = Counter(map(_canonical_json, was))
    after = Counter(map(_canonical_json, now))
    return _surplus(was, after), _surplus(now, before)


def _surplus(entries: list[_Entry], others: Counter[bytes]) -> list[_Entry]:
    left = Counter(others)
    beyond = []
    for entry in entries:
        same = _canonical_json(entry)
        if left[same]:
            left[same] -= 1
        else:
            beyond.append(entry)
    return beyond


def _canonical_json(entry: _Entry) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)


def _entry_label(entry: _Entry) -> str:
    words = [str(entry[key]) for key in ("kind", "code") if key in entry]
    email = escape_control(str(entry["email"]))
    return (
        f"{words[0]} {email}" if "before" in entry and "remedy" not in entry else f"{' '.join(words)} {email}".strip()
    )


def _changed_fields(was: _Entry, now: _Entry) -> Iterator[str]:
    """Yield two lines for each field that differs: what it was and what it is, under each other."""
    for key in [*was, *(key for key in now if key not in was)]:
        if was.get(key) != now.get(key):
            name = key.replace("_", " ")
            yield f"  - {name}: {_format_value(was.get(key))}"
            yield f"  + {name}: {_format_value(now.get(key))}"


def _format_value(value: object) -> str:
    if value is None or value in ("", {}, []):
        return "nothing"
    if isinstance(value, bool):
        return "active" if value else "inactive"
    if isinstance(value, dict):
        return ", ".join(f"{FIELD_LABELS.get(key, key)} {_format_value(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(_format_value(one) for one in value)
    return escape_control(str(value))


def _order_lines(approved: PlannedObject, fresh: PlannedObject) -> Iterator[str]:
    """Yield a line if only the order of applying has changed; the order is part of a plan."""
    was, now = approved["changes"], fresh["changes"]
    same = was != now and Counter(map(str, was)) == Counter(map(str, now))
    if same:
        yield "the changes are made in another order"


def _count_lines(approved: PlannedObject, fresh: PlannedObject) -> Iterator[str]:
    for key in ("total", "active", "linked"):
        yield from _value_lines(f"members {key}", approved["members"], fresh["members"], key)
    yield from _value_lines("members in sync", approved["counts"], fresh["counts"], "in-sync")
    was_sources = {f"{source['connector']}/{source['app']}": source for source in approved["sources"]}
    now_sources = {f"{source['connector']}/{source['app']}": source for source in fresh["sources"]}
    for name in [*now_sources, *(one for one in was_sources if one not in now_sources)]:
        yield from _source_lines(escape_control(name), was_sources.get(name), now_sources.get(name))


def _source_lines(name: str, was: SourceObject | None, now: SourceObject | None) -> Iterator[str]:
    if was is None or now is None:
        yield f"source {name} is {'new' if was is None else 'gone'}"
        return
    for what in ("people", "entitled", "individual"):
        yield from _value_lines(f"source {name}, {what}", was, now, what)
    yield from _group_lines(name, _group_sizes(was), _group_sizes(now))


def _group_sizes(source: SourceObject) -> dict[str, tuple[str, int]]:
    return {group["id"]: (group["name"], group["people"]) for group in source["groups"]}


def _group_lines(source: str, was: Mapping[str, tuple[str, int]], now: Mapping[str, tuple[str, int]]) -> Iterator[str]:
    for key in [*now, *(one for one in was if one not in now)]:
        if was.get(key) != now.get(key):
            yield f"source {source}, group: was {_format_group(was.get(key))}, is {_format_group(now.get(key))}"


def _format_group(group: tuple[str, int] | None) -> str:
    return f"{escape_control(group[0])} with {group[1]:,}" if group else "not there"
