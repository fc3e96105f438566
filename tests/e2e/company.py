"""Changes at the sandbox's company in a test."""

from __future__ import annotations

from sandbox.company import Person
from sandbox.server import Sandbox

__all__ = ["leavers"]

LATAM, GROUP = "pigment-latam", "Pigment LatAm"


def leavers(sandbox: Sandbox, count: int) -> list[Person]:
    """Let *count* people who have an active member of pigment-latam leave; a guard holds more than three."""
    company = sandbox.company
    members = {member.user_name.lower() for member in sandbox.workspace(LATAM).members if member.active}
    active = [
        person
        for person in company.okta.people.values()
        if person.status == "ACTIVE"
        and person.email.lower() in members
        and GROUP in [group.name for group in company.groups_of(person)]
    ]
    return [company.leave(person) for person in active[:count]]
