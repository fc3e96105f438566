"""The members of the workspaces when the sandbox starts: most people, and one of each kind of drift.

workspace   the member ...                      and the first dry run shows
all         of two people is missing            create
            with an older name                  update-name
            of a suspended person is active     adopt, deactivate
without a person                    note unmanaged
without a person, inactive          nothing, it is counted
            support@pigment.com                 note protected, or nothing
latam, eu   assigned individually               note individual-assignment
latam       inactive, same name                 reactivate
            inactive, other name                hold possible-recycled-address
            same name, other address            hold possible-rename
            of a contractor is missing          hold domain-not-allowed
eu          with an alias for its address       update-email
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.company import Directory, Person
from sandbox.pigment.workspace import PigmentWorkspace

__all__ = ["WORKSPACES", "add_initial_members"]

WORKSPACES = {"okta": "pigment-latam", "entra": "pigment-eu", "onelogin": "pigment-apac"}
NEW_HIRES = 2


@dataclass(frozen=True, slots=True)
class MemberOverride:
    """How a person's member differs from the person; empty fields do not differ."""

    email: str = ""
    display_name: str = ""
    active: bool = True
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class WorkspaceDrift:
    """The drift of one workspace: by sign-in address, and members without a person (address, name, active)."""

    overrides: Mapping[str, MemberOverride] = field(default_factory=dict)
    unmanaged: tuple[tuple[str, str, bool], ...] = ()


DRIFT_BY_DIRECTORY = {
    "okta": WorkspaceDrift(
        {
            "Beatriz.MELO@Acme.com": MemberOverride("beatriz.melo@acme.com"),
            "elisa.prado@acme.com": MemberOverride(active=False),
            "iara.campos@acme.com": MemberOverride("iara@acme.com"),
            "joao.novo@acme.com": MemberOverride(is_missing=True),
            "katia.brandao@acme.com": MemberOverride(display_name="Katia Brandao"),
            "lazaro.ibanez@acme.com": MemberOverride(active=False),
            "maite.quispe@acme.com": MemberOverride(display_name="Maitê Andrade", active=False),
            "nelida@example.com": MemberOverride(is_missing=True),
        },
        (("auditor.latam@example.com", "External Auditor", True), ("ursula.old@acme.com", "Úrsula Antes", False)),
    ),
    "entra": WorkspaceDrift(
        {
            "Chloe.OBrien@acme.com": MemberOverride(display_name="Chloe OBrien"),
            "hanne.ostergard@acme.com": MemberOverride("hanne.holm@acme.com", "Hanne Holm"),
            "jan.gast@example.com": MemberOverride(is_missing=True),
        },
        (("auditor.eu@example.com", "External Auditor", True), ("willem.old@acme.com", "Willem Vroeger", False)),
    ),
    "onelogin": WorkspaceDrift(
        {"gita.nair@acme.com": MemberOverride(display_name="Gita Nair")},
        (("auditor.apac@example.com", "External Auditor", True), ("ken.old@acme.com", "Ken Mukashi", False)),
    ),
}


def add_initial_members(workspace: PigmentWorkspace, directory: Directory) -> None:
    """Fill an empty *workspace* for the people of *directory*."""
    drift = DRIFT_BY_DIRECTORY[directory.name]
    workspace.admin_create("support@pigment.com", "Pigment Support")
    for person in _people_with_members(directory, drift):
        odd = drift.overrides.get(person.email, MemberOverride())
        if not odd.is_missing:
            workspace.admin_create(
                odd.email or person.email, odd.display_name or person.display_name, active=odd.active
            )
    for email, name, active in drift.unmanaged:
        workspace.admin_create(email, name, active=active)


def _people_with_members(directory: Directory, drift: WorkspaceDrift) -> list[Person]:
    """Return the assigned people without the newest ordinary ones, who have yet to join."""
    assigned = directory.assignments(directory.pigment)
    people = [person for person in directory.people.values() if person.id in assigned]
    ordinary = [
        each for each in people if each.email not in drift.overrides and each.status == directory.status_words.active
    ]
    newest = {person.id for person in ordinary[-NEW_HIRES:]}
    return [person for person in people if person.id not in newest]
