"""Try for `check` what runs do with leavers: look one person up by id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from connectors.base import Finding, LookupResult, ReadError, Source, Status

__all__ = ["LookupFunction", "check_lookup"]

LookupFunction = Callable[[str, Source], Awaitable[LookupResult]]
CONSEQUENCE = (
    "Runs go on without it, but can't give the reasons of leavers, nor notice a list that leaves out people who are "
    "still assigned."
)


async def check_lookup(subject: str, lookup: LookupFunction, people: Iterable[str], source: Source) -> list[Finding]:
    """Return a warning when the first of *people* can't be looked up by id, nothing otherwise or for no people."""
    person = next(iter(sorted(people)), None)
    if person is None:
        return []
    try:
        found = await lookup(person, source)
    except ReadError as error:
        return [
            Finding("warning", subject, f"No person can be looked up: {error.message}", f"{error.hint} {CONSEQUENCE}")
        ]
    if found.groups is None and found.status in {Status.ACTIVE, Status.UNKNOWN}:
        message = (
            f"Person {person} can be looked up by id, but not the groups or roles that hold them: {found.groups_error}"
        )
        return [Finding("warning", subject, message, f"Let the credentials read the groups of a person. {CONSEQUENCE}")]
    return []
