"""The options for a member that has the address of a person without a member."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model.match import MatchVerdict, judge_match
from tests.factories import member


@pytest.mark.parametrize(
    ("active", "name", "verdict"),
    [
        (True, "Ann", MatchVerdict.LINK),
        (True, "Bea", MatchVerdict.LINK),
        (False, "ann", MatchVerdict.REACTIVATE),
        (False, "Bea", MatchVerdict.POSSIBLY_RECYCLED),
        (None, "Ann", MatchVerdict.UNREADABLE),
    ],
)
def test_match_depends_on_whether_the_member_is_active_and_on_its_name(
    active: bool | None, name: str, verdict: MatchVerdict
) -> None:
    assert judge_match("Ann", replace(member("ann", display_name=name), active=active)) is verdict


def test_two_empty_names_are_not_the_same_person() -> None:
    inactive = replace(member("ann", display_name=""), active=False)

    assert judge_match("", inactive) is MatchVerdict.POSSIBLY_RECYCLED


def test_member_of_another_person_is_never_given_away() -> None:
    assert judge_match("Ann", member("ann"), {"m-ann"}) is MatchVerdict.TAKEN
