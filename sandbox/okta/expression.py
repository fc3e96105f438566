"""Read the filters that Okta's list of people takes: comparisons, joined by `and`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from operator import eq, ge, gt, le, lt

from sandbox.company import Person
from sandbox.okta.refusal import Refusal

__all__ = ["matching"]

COMPARISON = re.compile(r'\s*(?P<field>[\w.]+)\s+(?P<operator>eq|gt|ge|lt|le)\s+"(?P<value>[^"]*)"\s*')
COMPARE: dict[str, Callable[[str, str], bool]] = {"eq": eq, "gt": gt, "ge": ge, "lt": lt, "le": le}
FIELDS: dict[str, Callable[[Person], str]] = {
    "id": lambda person: person.id,
    "status": lambda person: person.status,
    "lastUpdated": lambda person: f"{person.changed:%Y-%m-%dT%H:%M:%S}.000Z",
    "profile.login": lambda person: person.email,
    "profile.email": lambda person: person.mail or "",
    "profile.firstName": lambda person: person.given,
    "profile.lastName": lambda person: person.family,
}


def matching(people: Iterable[Person], expression: str) -> list[Person]:
    """Return those of *people* that *expression* is true of. Raise `Refusal` (`E0000031`) if it can't be read."""
    tests = [_test(part) for part in re.split(r"\s+and\s+", expression)]
    return [person for person in people if all(test(person) for test in tests)]


def _test(part: str) -> Callable[[Person], bool]:
    parts = COMPARISON.fullmatch(part)
    if parts is None or parts["field"] not in FIELDS:
        raise Refusal(400, "E0000031", f"Invalid search criteria: {part[:100]}")
    field, compare, value = FIELDS[parts["field"]], COMPARE[parts["operator"]], parts["value"]
    return lambda person: compare(field(person), value)
