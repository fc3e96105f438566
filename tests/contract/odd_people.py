"""One table of odd people, for every pair of readers: our connector and the vendor's own SDK read the same company."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from connectors.base import Snapshot
from sandbox.company import Company

__all__ = ["ODD_PEOPLE", "STATUS_WORDS", "OddPerson", "Reading", "as_read", "hire_odd_people", "readings"]


@dataclass(frozen=True)
class OddPerson:
    """*groups* are indexes of the application's groups; *is_individual*: assigned directly too, or only."""

    given: str = "Odd"
    family: str = "Person"
    groups: tuple[int, ...] = (0,)
    is_individual: bool = False
    is_guest: bool = False
    has_mail: bool = True
    local_part: str = ""
    status: str = ""
    """`suspended`, `deactivated`, or the provider's own word; empty: active."""


ODD_PEOPLE: dict[str, OddPerson] = {
    "suspended": OddPerson(status="suspended"),
    "suspended individual": OddPerson(status="suspended", groups=(), is_individual=True),
    "deactivated": OddPerson(status="deactivated"),
    "deactivated in two groups": OddPerson(status="deactivated", groups=(0, 1)),
    "guest": OddPerson(is_guest=True),
    "guest suspended": OddPerson(is_guest=True, status="suspended"),
    "guest without mail": OddPerson(is_guest=True, has_mail=False),
    "no mail": OddPerson(has_mail=False),
    "no names": OddPerson(given="", family=""),
    "no given name": OddPerson(given=""),
    "no family name": OddPerson(family=""),
    "spaces around a name": OddPerson(given="  Ida ", family=" Berg  "),
    "decomposed letters": OddPerson(given="Zoe\u0308", family="A\u030aberg"),
    "right to left": OddPerson(given="نور", family="الدين"),
    "outside the basic plane": OddPerson(given="𠮷", family="野😀"),
    "markup and quotes": OddPerson(given="<b>Bo</b>", family='O\'Neil "Q" & Co'),
    "invisible letters": OddPerson(given="Zero\u200bWidth", family="Soft\u00adHyphen"),
    "capitals and a plus in the address": OddPerson(local_part="Plus.MAN+Planning"),
    "apostrophe in the address": OddPerson(local_part="d'arc"),
    "individual": OddPerson(groups=(), is_individual=True),
    "individual and in groups": OddPerson(groups=(0, 1), is_individual=True),
}

STATUS_WORDS = {
    "okta": [
        "STAGED",
        "PROVISIONED",
        "ACTIVE",
        "RECOVERY",
        "LOCKED_OUT",
        "PASSWORD_EXPIRED",
        "SUSPENDED",
        "DEPROVISIONED",
    ],
    "entra": ["enabled", "disabled", "unknown"],
    "onelogin": list("01234578"),
}
"""Every status that the vendor documents; one person has each."""

ONELOGIN_STATES = (0, 1, 2, 3)


@dataclass(frozen=True)
class Reading:
    """A person as one reader shows them. *status* is in the provider's words."""

    email: str
    status: str
    given: str
    family: str
    groups: frozenset[str]
    is_individual: bool


def as_read(text: str | None) -> str:
    """Return a text of an SDK as our connector has it: without spaces around it, and null is empty."""
    return (text or "").strip()


def readings(snapshot: Snapshot) -> dict[str, Reading]:
    """Return what our connector read, by id."""
    return {
        each.id: Reading(
            each.email or "",
            each.source_status,
            each.given_name,
            each.family_name,
            frozenset(each.groups),
            each.individual,
        )
        for each in snapshot.people
    }


def hire_odd_people(company: Company, name: str) -> dict[str, str]:
    """Add each odd person to the directory *name*, and return their ids by what is odd."""
    table = ODD_PEOPLE | {f"status {word}": OddPerson(status=word) for word in STATUS_WORDS[name]}
    hired = {about: _hire(company, name, number, odd) for number, (about, odd) in enumerate(table.items())}
    if name == "onelogin":
        hired |= dict(_hire_each_state(company))
    return hired


def _hire(company: Company, name: str, number: int, odd: OddPerson) -> str:
    home = company.directory(name)
    groups = [home.pigment.groups[index] for index in odd.groups]
    email = f"{odd.local_part or f'odd{number}'}@acme.com"
    person = company.hire(name, odd.given, odd.family, groups, email)
    words = {"": home.status_words.active, "suspended": home.status_words.suspended}
    words["deactivated"] = home.status_words.deactivated
    person.status = words.get(odd.status, odd.status)
    person.guest = odd.is_guest
    person.mail = person.mail if odd.has_mail else None
    if odd.is_individual:
        company.assign_individually(person)
    return person.id


def _hire_each_state(company: Company) -> Iterable[tuple[str, str]]:
    """OneLogin has a second status, which an approval sets."""
    for state in ONELOGIN_STATES:
        key = _hire(company, "onelogin", 100 + state, OddPerson())
        company.onelogin.people[key].state = state
        yield f"state {state}", key
