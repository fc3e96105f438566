"""Who is in the workspaces when the sandbox starts: most people, and a little of everything that drifts.

workspace   the member ...                      and the first dry run shows
all         of two people is missing            create
            with an older name                  update-name
            of a suspended person is active     adopt, deactivate
            of nobody at all                    note unmanaged
            of nobody, inactive                 nothing, it is counted
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
from sandbox.pigment.space import PigmentSpace

__all__ = ["WORKSPACES", "fill"]

WORKSPACES = {"okta": "pigment-latam", "entra": "pigment-eu", "onelogin": "pigment-apac"}
JOINERS = 2


@dataclass(frozen=True, slots=True)
class Odd:
    """How a person's member differs from them; empty: it does not."""

    email: str = ""
    display_name: str = ""
    active: bool = True
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """What is odd in one workspace: by sign-in address, and members without a person (address, name, active)."""

    odd: Mapping[str, Odd] = field(default_factory=dict)
    strangers: tuple[tuple[str, str, bool], ...] = ()


DRIFTS = {
    "okta": Drift(
        {
            "Beatriz.MELO@Acme.com": Odd("beatriz.melo@acme.com"),
            "elisa.prado@acme.com": Odd(active=False),
            "iara.campos@acme.com": Odd("iara@acme.com"),
            "joao.novo@acme.com": Odd(is_missing=True),
            "katia.brandao@acme.com": Odd(display_name="Katia Brandao"),
            "lazaro.ibanez@acme.com": Odd(active=False),
            "maite.quispe@acme.com": Odd(display_name="Maitê Andrade", active=False),
            "nelida@example.com": Odd(is_missing=True),
        },
        (("auditor.latam@example.com", "External Auditor", True), ("ursula.old@acme.com", "Úrsula Antes", False)),
    ),
    "entra": Drift(
        {
            "Chloe.OBrien@acme.com": Odd(display_name="Chloe OBrien"),
            "hanne.ostergard@acme.com": Odd("hanne.holm@acme.com", "Hanne Holm"),
            "jan.gast@example.com": Odd(is_missing=True),
        },
        (("auditor.eu@example.com", "External Auditor", True), ("willem.old@acme.com", "Willem Vroeger", False)),
    ),
    "onelogin": Drift(
        {"gita.nair@acme.com": Odd(display_name="Gita Nair")},
        (("auditor.apac@example.com", "External Auditor", True), ("ken.old@acme.com", "Ken Mukashi", False)),
    ),
}


def fill(space: PigmentSpace, directory: Directory) -> None:
    """Put the members into an empty *space* that is fed by *directory*."""
    drift = DRIFTS[directory.name]
    space.by_hand_create("support@pigment.com", "Pigment Support")
    for person in _present(directory, drift):
        odd = drift.odd.get(person.email, Odd())
        if not odd.is_missing:
            space.by_hand_create(odd.email or person.email, odd.display_name or person.display_name, active=odd.active)
    for email, name, active in drift.strangers:
        space.by_hand_create(email, name, active=active)


def _present(directory: Directory, drift: Drift) -> list[Person]:
    """Return who is assigned, but for the newest of those about whom nothing is odd: they have yet to join."""
    assigned = directory.assigned(directory.pigment)
    people = [person for person in directory.people.values() if person.id in assigned]
    ordinary = [each for each in people if each.email not in drift.odd and each.status == directory.words.active]
    newest = {person.id for person in ordinary[-JOINERS:]}
    return [person for person in people if person.id not in newest]
