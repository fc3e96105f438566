"""Parse the filters of Okta's list of people: comparisons, joined by `and`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from operator import eq, ge, gt, le, lt

from sandbox.company import Person
from sandbox.okta.errors import OktaError

__all__ = ["filter_people"]

COMPARISON = re.compile(r'\s*(?P<field>[\w.]+)\s+(?P<operator>eq|gt|ge|lt|le)\s+"(?P<value>[^"]*)"\s*')
OPERATORS: dict[str, Callable[[str, str], bool]] = {"eq": eq, "gt": gt, "ge": ge, "lt": lt, "le": le}
FIELDS: dict[str, Callable[[Person], str]] = {
    "id": lambda person: person.id,
    "status": lambda person: person.status,
    "lastUpdated": lambda person: f"{person.changed:%Y-%m-%dT%H:%M:%S}.000Z",
    "profile.login": lambda person: person.email,
    "profile.email": lambda person: person.mail or "",
    "profile.firstName": lambda person: person.given,
    "profile.lastName": lambda person: person.family,
}


def filter_people(people: Iterable[Person], expression: str) -> list[Person]:
    """Return those of *people* that match *expression*. Raise `OktaError` (`E0000031`) if it is invalid."""
    tests = [_parse_comparison(part) for part in re.split(r"\s+and\s+", expression)]
    return [person for person in people if all(test(person) for test in tests)]


def _parse_comparison(part: str) -> Callable[[Person], bool]:
    parts = COMPARISON.fullmatch(part)
    if parts is None or parts["field"] not in FIELDS:
        raise OktaError(400, "E0000031", f"Invalid search criteria: {part[:100]}")
    field, compare, value = FIELDS[parts["field"]], OPERATORS[parts["operator"]], parts["value"]
    return lambda person: compare(field(person), value)
