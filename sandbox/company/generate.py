"""Found the company: the same seed gives the same people, ids and groups."""

from __future__ import annotations

import random

from sandbox.company.company import Company
from sandbox.company.directory import Directory, StatusWords
from sandbox.company.fixtures import APAC, EU, LATAM, Office, SpecialPerson
from sandbox.company.person import Person

__all__ = ["DIRECTORIES", "generate_company"]

DIRECTORIES = ("okta", "entra", "onelogin")
STATUS_WORDS = {
    "okta": StatusWords("ACTIVE", "SUSPENDED", "DEPROVISIONED"),
    "entra": StatusWords("enabled", "disabled", "disabled"),
    "onelogin": StatusWords("1", "2", "2"),
}
OFFICES = {"okta": LATAM, "entra": EU, "onelogin": APAC}


def generate_company(seed: int = 7, size: int = 120) -> Company:
    """Return a company with about *size* people in each of its three directories.

    `cast.py` names the people who are something special; the others are as ordinary as their names. Its clock starts
    the same for every seed.
    """
    company = Company(
        seed, [Directory(name, STATUS_WORDS[name], random.Random(f"{seed}/{name}")) for name in DIRECTORIES]
    )
    for name in DIRECTORIES:
        _add_office(company, company.directories[name], OFFICES[name], size)
    company.version = 0
    for person in company.everyone():
        person.created = person.changed = person.status_changed = company.now
    return company


def _add_office(company: Company, home: Directory, cast: Office, size: int) -> None:
    for group in (*cast.groups, *cast.unassigned_groups):
        home.add_group(group)
    if home.name == "okta":
        home.add_group("Everyone", "BUILT_IN")
    home.add_app(cast.app, tuple(home.group(name) for name in cast.groups))
    home.add_app("Travel", (home.group(cast.unassigned_groups[0]),))
    for extra in cast.people:
        _hire_special_person(company, home, cast, extra)
    while len(home.people) < size:
        _hire_random_person(company, home, cast)
    if home.name == "entra":
        _add_nested_group(company, home, cast)


def _hire_special_person(company: Company, home: Directory, cast: Office, extra: SpecialPerson) -> None:
    groups = [cast.groups[index] for index in extra.groups]
    person = company.hire(home.name, extra.given, extra.family, groups, extra.email)
    person.status = extra.status or person.status
    person.custom_display_name, person.guest, person.state = extra.display_name, extra.guest, extra.state
    person.aliases += extra.aliases
    if not extra.has_mail:
        person.mail = None
    if extra.individual:
        company.assign_individually(person)


def _hire_random_person(company: Company, home: Directory, cast: Office) -> Person:
    """Hire one of the many: most are in one of Pigment's groups, some in two, some in none."""
    given, family = home.rng.choice(cast.given), home.rng.choice(cast.family)
    dice = home.rng.random()
    count = 0 if dice < 0.15 else 2 if dice > 0.85 else 1
    groups = home.rng.sample(cast.groups, k=count)
    return company.hire(home.name, given, family, [*groups, home.rng.choice(cast.unassigned_groups)])


def _add_nested_group(company: Company, home: Directory, cast: Office) -> None:
    """Put a group and a device into the first of Pigment's groups: both are rows that give nobody access in Entra."""
    inner = home.add_group("Finance Iberia (nested)")
    for given, family in (("Íñigo", "Zubizarreta"), ("Nerea", "Goñi")):
        company.hire(home.name, given, family, [inner.id])
    outer = home.group(cast.groups[0])
    outer.groups.append(inner.id)
    outer.devices.append(home.new_id("person"))
