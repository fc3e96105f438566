"""Links are fixed by hand: whole connectors by email, one member by name."""

from __future__ import annotations

from agent.diff.link_edits import RebindPlan, assignment_edits, rebind_plan
from agent.model import GroupRef, Link, Listing, Memory
from agent.model.run import LinkEdit
from connectors.base import PersonKey
from tests.factories import ENTRA, key, link, member, person, snapshot

FINANCE = (GroupRef("finance", "Finance"),)


def moved(*people: tuple[str, str], links: tuple[Link, ...], members: tuple[str, ...] = ("ann", "bea")) -> RebindPlan:
    shown = [person(name, email, connector=ENTRA.connector, groups=("finance",)) for name, email in people]
    listing = Listing(tuple(member(name) for name in members))
    return rebind_plan(
        Memory(links),
        listing,
        [snapshot(shown, ENTRA), snapshot([person("x", "bea@acme.com")])],
        "okta-main",
        "entra-eu",
    )


def test_links_move_by_the_members_email() -> None:
    was = link("ann")
    found = moved(("a1", "Ann@ACME.com"), links=(was,))

    assert found == RebindPlan(
        (("ann@acme.com", LinkEdit(Link(PersonKey("entra-eu", "a1"), "m-ann", FINANCE), was)),), ()
    )


def test_link_stays_unless_exactly_one_unlinked_person_has_the_email() -> None:
    assert moved(links=(link("ann"),)).unmatched == ("ann@acme.com",)
    assert moved(("a1", "ann@acme.com"), ("a2", "ANN@acme.com"), links=(link("ann"),)).unmatched == ("ann@acme.com",)
    taken = Link(PersonKey("entra-eu", "a1"), "m-bea")
    assert moved(("a1", "ann@acme.com"), links=(link("ann"), taken)).unmatched == ("ann@acme.com",)
    assert moved(("a1", "ann@acme.com"), links=(link("ann"),), members=()).unmatched == ("m-ann",)


def test_links_of_other_connectors_are_left_alone() -> None:
    assert moved(("a1", "ann@acme.com"), links=(link("ann", connector="onelogin"),)) == RebindPlan((), ())


def test_moves_stand_in_the_order_of_their_people() -> None:
    found = moved(("b1", "bea@acme.com"), ("a1", "ann@acme.com"), links=(link("bea"), link("ann")))

    assert [email for email, _ in found.edits] == ["ann@acme.com", "bea@acme.com"]


def test_person_in_two_snapshots_of_the_connector_is_one() -> None:
    shown = [person("a1", "ann@acme.com", connector=ENTRA.connector)]
    found = rebind_plan(
        Memory((link("ann"),)),
        Listing((member("ann"),)),
        [snapshot(shown, ENTRA), snapshot(shown, ENTRA)],
        "okta-main",
        "entra-eu",
    )

    assert len(found.edits) == 1


def test_assignment_releases_what_stood_in_its_way() -> None:
    ann, bea = link("ann"), link("bea")
    memory = Memory((ann, bea))

    assert assignment_edits(memory, member("bea"), key("ann")) == (
        LinkEdit(None, ann),
        LinkEdit(Link(key("ann"), "m-bea"), bea),
    )
    assert assignment_edits(memory, member("ann"), key("ann")) == ()
    assert assignment_edits(Memory(), member("ann"), key("ann")) == (LinkEdit(Link(key("ann"), "m-ann"), None),)
    assert assignment_edits(memory, member("cat"), key("cat")) == (LinkEdit(Link(key("cat"), "m-cat"), None),)


def test_links_move_within_one_connector_when_its_people_have_new_ids() -> None:
    """What `recycled-address` proposes where a connector reads another tenant: who kept the id keeps the link."""
    memory = Memory((link("ann"), link("bea")))
    listing = Listing((member("ann"), member("bea")))
    people = snapshot([person("new-ann", "ann@acme.com"), person("bea")])
    found = rebind_plan(memory, listing, [people], "okta-main", "okta-main")

    assert [(edit.link and edit.link.person, edit.previous) for _, edit in found.edits] == [
        (key("new-ann"), link("ann"))
    ]
    assert found.unmatched == ("bea@acme.com",)
