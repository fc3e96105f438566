"""Generate the company: the same seed gives the same people, ids and groups."""

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

    `fixtures.py` names the special people; the others are ordinary. Its clock starts
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


def _add_office(company: Company, home: Directory, office: Office, size: int) -> None:
    for group in (*office.groups, *office.unassigned_groups):
        home.add_group(group)
    if home.name == "okta":
        home.add_group("Everyone", "BUILT_IN")
    home.add_app(office.app, tuple(home.group(name) for name in office.groups))
    home.add_app("Travel", (home.group(office.unassigned_groups[0]),))
    for extra in office.people:
        _hire_special_person(company, home, office, extra)
    while len(home.people) < size:
        _hire_random_person(company, home, office)
    if home.name == "entra":
        _add_nested_group(company, home, office)


def _hire_special_person(company: Company, home: Directory, office: Office, extra: SpecialPerson) -> None:
    groups = [office.groups[index] for index in extra.groups]
    person = company.hire(home.name, extra.given, extra.family, groups, extra.email)
    person.status = extra.status or person.status
    person.custom_display_name, person.guest, person.state = extra.display_name, extra.guest, extra.state
    person.aliases += extra.aliases
    if not extra.has_mail:
        person.mail = None
    if extra.individual:
        company.assign_individually(person)


def _hire_random_person(company: Company, home: Directory, office: Office) -> Person:
    """Hire an ordinary person: most are in one of Pigment's groups, some in two, some in none."""
    given, family = home.rng.choice(office.given), home.rng.choice(office.family)
    dice = home.rng.random()
    count = 0 if dice < 0.15 else 2 if dice > 0.85 else 1
    groups = home.rng.sample(office.groups, k=count)
    return company.hire(home.name, given, family, [*groups, home.rng.choice(office.unassigned_groups)])


def _add_nested_group(company: Company, home: Directory, office: Office) -> None:
    """Put a group and a device into the first of Pigment's groups: both are rows that give no access in Entra."""
    inner = home.add_group("Finance Iberia (nested)")
    for given, family in (("Íñigo", "Zubizarreta"), ("Nerea", "Goñi")):
        company.hire(home.name, given, family, [inner.id])
    outer = home.group(office.groups[0])
    outer.groups.append(inner.id)
    outer.devices.append(home.new_id("person"))
