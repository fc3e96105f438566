"""What approvals release: each guard needs its own different people, within the time that an approval is valid."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from agent.guard.release import GuardApproval, Release, is_same_person, usable_approvals
from agent.model.approval import Approval
from tests.state_samples import NOW

DAY = timedelta(hours=24)


def given(by: str, *guards: str, at: datetime = NOW, applied_in: str = "") -> Approval:
    return Approval(
        workspace="latam", digest="sha256:aa", by=by, at=at, reason="", guards=guards, run_id="r", applied_in=applied_in
    )


def released(needed: int, *approvals: Approval) -> list[str]:
    """Return which of the guards g and h are released."""
    return [each.guard for each in Release(approvals, needed).statuses(["h", "g"]) if each.is_released]


@pytest.mark.parametrize(
    ("needed", "approvals", "expected"),
    [
        (1, [], []),
        (1, [given("ann")], ["g", "h"]),
        (1, [given("ann", "g")], ["g"]),
        (2, [given("ann")], []),
        (2, [given("ann"), given("bea")], ["g", "h"]),
        (2, [given("ann"), given(" ANN ")], []),
        (2, [given("ann", "g"), given("ann", "h")], []),
        (2, [given("ann", "g"), given("bea", "h")], []),
        (2, [given("ann"), given("bea", "g")], ["g"]),
        (2, [given("ann", "g", "h"), given("bea", "g"), given("cem", "h")], ["g", "h"]),
    ],
)
def test_each_guard_needs_its_own_different_people(needed: int, approvals: list[Approval], expected: list[str]) -> None:
    assert released(needed, *approvals) == expected


def test_status_names_each_person_once_and_counts_who_is_missing() -> None:
    release = Release((given("Ann "), given("ann", "g"), given("bea", "h")), 2)

    assert release.status("g") == GuardApproval("g", ("Ann",), 1)
    assert release.status("h") == GuardApproval("h", ("Ann", "bea"), 0)


def test_change_that_several_guards_hold_is_released_once_all_are() -> None:
    release = Release((given("ann", "g"),), 1)

    assert release.releases(["g"])
    assert not release.releases(["g", "h"])
    assert not release.releases([]), "what no guard holds is a hold of the planning table"


def test_expired_and_applied_approvals_do_not_count() -> None:
    old, young = given("ann", at=NOW - DAY), given("bea", at=NOW - DAY + timedelta(seconds=1))
    applied, ahead = given("cem", applied_in="r0"), given("dee", at=NOW + timedelta(minutes=5))

    assert usable_approvals([ahead, young, old, applied], NOW, DAY) == (young, ahead)


def test_approvals_that_released_a_guard_are_the_applied_ones() -> None:
    ann, bea, cem = given("ann", "g"), given("bea"), given("cem", "h")

    assert Release((ann, bea), 2).applied(["g", "h"]) == (ann, bea)
    assert Release((ann, cem), 2).applied(["g", "h"]) == ()
    assert Release((ann, cem), 1).applied(["g"]) == (ann,)


@pytest.mark.parametrize(
    ("one", "other", "same"), [("Ann", " ann", True), ("STRASSE", "straße", True), ("a", "b", False)]
)
def test_people_are_compared_without_case_and_surrounding_space(one: str, other: str, same: bool) -> None:
    assert is_same_person(one, other) is same
