"""What a budget admits: deactivations first, and the last of it for them alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.request_budget import RequestPurpose, admit, reserved_requests

OF_LETTER = {"d": RequestPurpose.DEACTIVATION, "w": RequestPurpose.WRITE, "r": RequestPurpose.READ}


def purposes(letters: str) -> list[RequestPurpose]:
    return [OF_LETTER[letter] for letter in letters]


@pytest.mark.parametrize(
    ("waiting", "free", "elsewhere", "admitted"),
    [
        ("rwd", 10, "", [2, 0, 1]),
        ("rwd", 1, "", [2]),
        ("ddd", 2, "", [0, 1]),
        ("rrr", 5, "", [0, 1]),
        ("rrr", 3, "", []),
        ("www", 2, "", [0, 1]),
        ("www", 3, "d", []),
        ("www", 4, "d", [0]),
        ("wrw", 4, "", [0]),
        ("rww", 4, "", [0]),
        ("www", 3, "r", []),
        ("www", 3, "w", [0, 1, 2]),
        ("ddw", 1, "", [0]),
        ("wd", 2, "", [1, 0]),
        ("wdr", 0, "", []),
        ("wdr", -3, "", []),
        ("", 9, "", []),
    ],
)
def test_last_three_are_for_deactivations(waiting: str, free: int, elsewhere: str, admitted: list[int]) -> None:
    assert admit(purposes(waiting), free, 3, purposes(elsewhere)) == admitted


@given(st.text("dwr", max_size=12), st.integers(-2, 15), st.integers(0, 4), st.text("dwr", max_size=2))
def test_no_more_are_admitted_than_are_free_and_no_read_uses_the_reserve(
    letters: str, free: int, reserved: int, elsewhere: str
) -> None:
    waiting = purposes(letters)

    admitted = [waiting[at] for at in admit(waiting, free, reserved, purposes(elsewhere))]

    assert len(admitted) <= max(0, free)
    if RequestPurpose.READ in admitted:
        assert free - len(admitted) >= reserved
    if len(admitted) < max(0, free):
        assert admitted.count(RequestPurpose.DEACTIVATION) == waiting.count(RequestPurpose.DEACTIVATION)


@pytest.mark.parametrize(("requests", "reserved"), [(480, 40), (12, 1), (11, 0), (1, 0)])
def test_a_twelfth_is_reserved(requests: int, reserved: int) -> None:
    assert reserved_requests(requests) == reserved
