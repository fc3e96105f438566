"""Try for `check` what runs do with leavers: look one person up by id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from connectors.base import Finding, ReadError, Source, Status, Whereabouts

__all__ = ["Lookup", "lookup_findings"]

Lookup = Callable[[str, Source], Awaitable[Whereabouts]]
COST = (
    "Runs go on without it, but can't give the reasons of leavers, nor notice a list that leaves out people who are "
    "still assigned."
)


async def lookup_findings(subject: str, lookup: Lookup, people: Iterable[str], source: Source) -> list[Finding]:
    """Return a warning when the first of *people* can't be looked up by id, nothing otherwise or for no people."""
    person = next(iter(sorted(people)), None)
    if person is None:
        return []
    try:
        found = await lookup(person, source)
    except ReadError as error:
        return [Finding("warning", subject, f"No person can be looked up: {error.message}", f"{error.hint} {COST}")]
    if found.groups is None and found.status in {Status.ACTIVE, Status.UNKNOWN}:
        message = (
            f"Person {person} can be looked up by id, but not the groups or roles that hold them: {found.groups_error}"
        )
        return [Finding("warning", subject, message, f"Let the credentials read the groups of a person. {COST}")]
    return []
