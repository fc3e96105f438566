"""Found the company: the same seed gives the same people, ids and groups."""

from __future__ import annotations

import random

from sandbox.company.cast import APAC, EU, LATAM, Cast, Extra
from sandbox.company.company import Company
from sandbox.company.directory import Directory, Words
from sandbox.company.person import Person

__all__ = ["DIRECTORIES", "founded"]

DIRECTORIES = ("okta", "entra", "onelogin")
WORDS = {
    "okta": Words("ACTIVE", "SUSPENDED", "DEPROVISIONED"),
    "entra": Words("enabled", "disabled", "disabled"),
    "onelogin": Words("1", "2", "2"),
}
CASTS = {"okta": LATAM, "entra": EU, "onelogin": APAC}


def founded(seed: int = 7, size: int = 120) -> Company:
    """Return a company with about *size* people in each of its three directories.

    `cast.py` names the people who are something special; the others are as ordinary as their names. Its clock starts
    the same for every seed.
    """
    company = Company(seed, [Directory(name, WORDS[name], random.Random(f"{seed}/{name}")) for name in DIRECTORIES])
    for name in DIRECTORIES:
        _open_office(company, company.directories[name], CASTS[name], size)
    company.version = 0
    for person in company.everyone():
        person.created = person.changed = person.status_changed = company.now
    return company


def _open_office(company: Company, home: Directory, cast: Cast, size: int) -> None:
    for group in (*cast.groups, *cast.elsewhere):
        home.add_group(group)
    if home.name == "okta":
        home.add_group("Everyone", "BUILT_IN")
    home.add_app(cast.app, tuple(home.group(name) for name in cast.groups))
    home.add_app("Travel", (home.group(cast.elsewhere[0]),))
    for extra in cast.people:
        _hire_extra(company, home, cast, extra)
    while len(home.people) < size:
        _hire_somebody(company, home, cast)
    if home.name == "entra":
        _nest(company, home, cast)


def _hire_extra(company: Company, home: Directory, cast: Cast, extra: Extra) -> None:
    groups = [cast.groups[index] for index in extra.groups]
    person = company.hire(home.name, extra.given, extra.family, groups, extra.email)
    person.status = extra.status or person.status
    person.display, person.guest, person.state = extra.display, extra.guest, extra.state
    person.aliases += extra.aliases
    if not extra.has_mail:
        person.mail = None
    if extra.individual:
        company.assign_individually(person)


def _hire_somebody(company: Company, home: Directory, cast: Cast) -> Person:
    """Hire one of the many: most are in one of Pigment's groups, some in two, some in none."""
    given, family = home.chance.choice(cast.given), home.chance.choice(cast.family)
    dice = home.chance.random()
    count = 0 if dice < 0.15 else 2 if dice > 0.85 else 1
    groups = home.chance.sample(cast.groups, k=count)
    return company.hire(home.name, given, family, [*groups, home.chance.choice(cast.elsewhere)])


def _nest(company: Company, home: Directory, cast: Cast) -> None:
    """Put a group and a device into the first of Pigment's groups: both are rows that give nobody access in Entra."""
    inner = home.add_group("Finance Iberia (nested)")
    for given, family in (("Íñigo", "Zubizarreta"), ("Nerea", "Goñi")):
        company.hire(home.name, given, family, [inner.id])
    outer = home.group(cast.groups[0])
    outer.groups.append(inner.id)
    outer.devices.append(home.new_id("person"))
