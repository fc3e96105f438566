"""Compare two readings of the same people or members. Pure; the order of neither matters.

in ours   in theirs                      the result has
yes       no                             only ours
no        yes                            only theirs; nothing if theirs is a whole directory
yes       yes, a field differs           different, for each field that both show
yes       twice, the same                as once: a report may have a row for each group
yes       twice, not the same            `ContradictoryRows`
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.model.comparison import ComparedField, Comparison, Difference, Entry, Subject
from agent.model.email import is_same_name, normalize

__all__ = ["MAX_ONLY_THEIRS", "Comparer", "ContradictoryRows", "TooManyRows", "without_settled"]

MAX_ONLY_THEIRS = 100_000
"""Bounds the memory: a list that has so many more is a list of something else."""


class ContradictoryRows(ValueError):
    """The other reading has one id or address twice, with different values: *key*, *field* and both values."""

    def __init__(self, key: str, field_name: str, values: tuple[str, str]) -> None:
        super().__init__(f"{key} is there twice, with {field_name} {values[0]!r} and {values[1]!r}")


class TooManyRows(ValueError):
    """The other reading has more than `MAX_ONLY_THEIRS` entries that ours does not have."""


@dataclass(slots=True)
class Comparer:
    """Takes the entries of the other reading one by one, so that only ours is held as a whole.

    *by_email*: the other reading has no ids. *is_whole_directory*: it also has people who are not assigned, so that its
    further entries mean nothing.
    """

    ours: Sequence[Entry]
    by_email: bool = False
    is_whole_directory: bool = False
    _by_key: dict[str, list[Entry]] = field(init=False)
    _seen: dict[str, Entry] = field(init=False, default_factory=dict)
    _fields: set[ComparedField] = field(init=False, default_factory=set)
    _further_count: int = field(init=False, default=0)
    _unlisted: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        by_key: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.ours:
            by_key[self._key(entry)].append(entry)
        self._by_key = dict(by_key)

    def _key(self, entry: Entry) -> str:
        return normalize(entry.email) if self.by_email else entry.id

    def add(self, entry: Entry) -> None:
        """Add one entry of the other reading. Raises `ContradictoryRows` and `TooManyRows`."""
        key = self._key(entry)
        self._fields.update(entry.fields)
        if key not in self._by_key and self.is_whole_directory:
            self._further_count += 1
            return
        seen = self._seen.setdefault(key, entry)
        if seen is entry:
            if key not in self._by_key:
                self._unlisted.add(key)
                if len(self._unlisted) > MAX_ONLY_THEIRS:
                    raise TooManyRows
            return
        for name, value in entry.fields.items():
            if name in seen.fields and not _is_same(name, seen.fields[name], value):
                raise ContradictoryRows(key, name, (seen.fields[name], value))

    def result(self, workspace: str, other: str, noun: str, at: datetime, notes: Sequence[str] = ()) -> Comparison:
        only_ours: list[Subject] = []
        different: list[Difference] = []
        for key, entries in self._by_key.items():
            theirs = self._seen.get(key)
            if theirs is None:
                only_ours += [Subject(entry.id, entry.email) for entry in entries]
            else:
                # Two of our people with one address: which of them the row is about is not known.
                different += [] if len(entries) > 1 else _differences(entries[0], theirs)
        return Comparison(
            workspace=workspace,
            other=other,
            at=at,
            noun=noun,
            ours=len(self.ours),
            theirs=len(self._seen) + self._further_count,
            only_ours=tuple(sorted(only_ours)),
            only_theirs=tuple(sorted(Subject(self._seen[key].id, self._seen[key].email) for key in self._unlisted)),
            different=tuple(sorted(different)),
            fields=_shared_fields(self.ours, self._fields),
            notes=tuple(notes),
        )


def _shared_fields(ours: Iterable[Entry], theirs: set[ComparedField]) -> tuple[ComparedField, ...]:
    shown = next((set(entry.fields) for entry in ours), set(ComparedField))
    return tuple(name for name in ComparedField if name in theirs and name in shown)


def _differences(ours: Entry, theirs: Entry) -> list[Difference]:
    return [
        Difference(ours.id, ours.email, name, ours.fields[name], value)
        for name, value in theirs.fields.items()
        if name in ours.fields and not _is_same(name, ours.fields[name], value)
    ]


def _is_same(name: ComparedField, one: str, other: str) -> bool:
    match name:
        case ComparedField.EMAIL:
            return normalize(one) == normalize(other)
        case ComparedField.NAME:
            return is_same_name(one, other)
        case _:
            return one == other


def without_settled(comparison: Comparison, again: Mapping[str, Entry]) -> Comparison:
    """Return *comparison* without what another, later reading of ours, by id, no longer shows.

    The other reading stands between the two: a person who moved meanwhile is as it shows them in one of both.
    """
    only_ours = tuple(each for each in comparison.only_ours if each.id in again)
    only_theirs = tuple(each for each in comparison.only_theirs if each.id not in again)
    different = tuple(each for each in comparison.different if not _has_moved(each, again.get(each.id)))
    kept = replace(comparison, only_ours=only_ours, only_theirs=only_theirs, different=different)
    return replace(kept, settled=comparison.count - kept.count)


def _has_moved(difference: Difference, now: Entry | None) -> bool:
    name = ComparedField(difference.field)
    return now is None or _is_same(name, now.fields.get(name, ""), difference.theirs)
