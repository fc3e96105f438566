"""What counts as silence of the event loop: checks and processor time, but never clock time."""

from __future__ import annotations

import pytest

from agent.daemon.watchdog import Silence


def silent(used_seconds: list[float]) -> float:
    silence = Silence(interval_seconds=1)
    return [silence.update(has_answered=False, used_seconds=used) for used in used_seconds][-1]


def test_silence_of_a_blocked_loop_is_counted_by_looks() -> None:
    assert silent([0.0] * 30) == 30


def test_silence_of_a_spinning_loop_is_the_processor_time_that_it_used() -> None:
    assert silent([1.0] * 30) == 30
    # A tenth of a processor is all that a busy machine gave it: it may be working.
    assert silent([0.1] * 30) == pytest.approx(3)


def test_silence_ends_with_an_answer() -> None:
    silence = Silence(interval_seconds=1)
    silence.update(has_answered=False, used_seconds=0)

    assert silence.update(has_answered=True, used_seconds=0) == 0


def test_machine_that_slept_counts_for_one_look() -> None:
    # The clock of a thread can go on by much in a virtual machine that was stopped.
    assert silent([900.0]) == 1
