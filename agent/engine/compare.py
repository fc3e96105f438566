"""Compare what a run reads with what another reader reads. Nothing here can write to a workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent.diff.compare import MAX_ONLY_THEIRS, Comparer, ContradictoryRows, TooManyRows, without_settled
from agent.errors import UsageError
from agent.model import Member
from agent.model.comparison import ComparedField, Comparison, Entry
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.ports.clock import Clock
from agent.ports.verifications import Verifications
from agent.report.compare import kept_document
from connectors.base import Connector, Person, ReadError, Snapshot, Source, Status

__all__ = [
    "Identity",
    "compare_export",
    "compare_live",
    "member_entries",
    "person_entries",
    "read_people",
    "record",
]

ACTIVE_WORDS = {Status.ACTIVE: "yes", Status.SUSPENDED: "no"}
MEMBER_WORDS = {True: "yes", False: "no", None: "unknown"}


class EntryReader(Protocol):
    """Reads the entries of an export one by one. *notes* are complete at their end."""

    @property
    def notes(self) -> Sequence[str]: ...

    def entries(self) -> Iterator[Entry]: ...


class Reading(Protocol):
    """What another reader read."""

    @property
    def entries(self) -> Sequence[Entry]: ...

    @property
    def notes(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who compares, with what, and since when: what a kept result shows besides the differences."""

    workspace: str
    other: str
    noun: str
    started_at: datetime
    by: str
    version: str


async def read_people(
    connectors: Mapping[str, Connector], sources: Sequence[Source], *, fresh: bool = False
) -> tuple[Snapshot, ...]:
    """Return a complete read of each of *sources*. Raises `ReadError`."""
    return tuple(await asyncio.gather(*(connectors[each.connector].read(each, fresh=fresh) for each in sources)))


def person_entries(people: Iterable[Person]) -> tuple[Entry, ...]:
    """Return *people* as entries, each id once: a person of two applications has the groups of both."""
    found: dict[str, Person] = {}
    groups: dict[str, set[str]] = {}
    individuals: set[str] = set()
    for person in people:
        found.setdefault(person.id, person)
        groups.setdefault(person.id, set()).update(person.groups)
        if person.individual:
            individuals.add(person.id)
    return tuple(
        Entry(
            person.id,
            person.email or "",
            {
                ComparedField.EMAIL: person.email or "",
                ComparedField.NAME: person.display_name,
                ComparedField.STATUS: person.source_status,
                ComparedField.ACTIVE: ACTIVE_WORDS.get(person.status, "unknown"),
                ComparedField.GROUPS: ", ".join(sorted(groups[person.id])),
                ComparedField.INDIVIDUAL: "yes" if person.id in individuals else "no",
            },
        )
        for person in found.values()
    )


def member_entries(members: Iterable[Member]) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            member.scim_id,
            member.email,
            {
                ComparedField.EMAIL: member.email,
                ComparedField.NAME: member.display_name,
                ComparedField.ACTIVE: MEMBER_WORDS[member.active],
            },
        )
        for member in members
    )


async def compare_live(
    identity: Identity,
    read_ours: Callable[[bool], Awaitable[Sequence[Entry]]],
    read_theirs: Callable[[], Awaitable[Reading]],
) -> Comparison:
    """Compare two readings of one system. Where they differ, ours is read again: people may have changed meanwhile.

    *read_ours* gets whether it must be fresh. Raises `ReadError`.
    """
    comparer = Comparer(await read_ours(False))
    theirs = await read_theirs()
    for entry in theirs.entries:
        comparer.add(entry)
    found = comparer.result(identity.workspace, identity.other, identity.noun, identity.started_at, theirs.notes)
    if not found.count:
        return found
    return without_settled(found, {entry.id: entry for entry in await read_ours(True)})


def compare_export(
    identity: Identity,
    ours: Sequence[Entry],
    reader: EntryReader,
    *,
    by_email: bool,
    is_whole_directory: bool = False,
) -> Comparison:
    """Compare *ours* with an export, row by row. Raises `UsageError`."""
    comparer = Comparer(ours, by_email=by_email, is_whole_directory=is_whole_directory)
    try:
        for entry in reader.entries():
            comparer.add(entry)
    except ContradictoryRows as error:
        raise UsageError(f"The file contradicts itself: {error}.", "Export it again without changes.") from error
    except TooManyRows as error:
        raise UsageError(
            f"The file has more than {MAX_ONLY_THEIRS:,} people or members that {identity.workspace} does not have.",
            "Export one application or group, or name the kind of the file with --kind.",
        ) from error
    return comparer.result(identity.workspace, identity.other, identity.noun, identity.started_at, reader.notes)


async def record(
    state: Verifications, identity: Identity, compare: Callable[[], Awaitable[Comparison]], clock: Clock
) -> Comparison:
    """Return the result of *compare*, and keep it in the state; a failed read too, before its error is raised."""
    try:
        comparison = await compare()
    except ReadError as error:
        document = {"at": clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"), "error": f"{error.message} {error.hint}".strip()}
        await state.record_verification(_verification(identity, VerificationResult.FAILED, document))
        raise
    result = VerificationResult.DIFFERS if comparison.count else VerificationResult.PASSED
    await state.record_verification(_verification(identity, result, kept_document(comparison)))
    return comparison


def _verification(identity: Identity, result: VerificationResult, document: Mapping[str, object]) -> Verification:
    return Verification(
        workspace=identity.workspace,
        kind=VerificationKind.COMPARE,
        started_at=identity.started_at,
        result=result,
        subject=identity.other,
        by=identity.by,
        version=identity.version,
        document={"version": 1, "workspace": identity.workspace, "with": identity.other, **document},
    )
