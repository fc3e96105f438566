"""The table of the guards that count changes, and what the settings and the guards make of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.diff.plan import compute_plan
from agent.guard.count_table import COUNT_GUARDS, ChangeFilter, CountGuard, change_subject
from agent.guard.hold import apply_guards
from agent.guard.results import GuardHistory
from agent.model import Kind
from agent.model.codes import GuardCode
from agent.settings.workspace import LimitSettings
from tests.factories import a_policy, key, reads, recent_changes, some_limits
from tests.state_samples import a_change

EACH_GUARD = pytest.mark.parametrize("guard", COUNT_GUARDS, ids=lambda guard: guard.code)


@EACH_GUARD
def test_key_of_a_limit_is_the_code_of_its_guard(guard: CountGuard) -> None:
    assert guard.limit.key == guard.code.replace("-", "_")
    assert guard.percent is None or guard.percent.key == f"{guard.limit.key}_percent"


@EACH_GUARD
def test_guard_with_a_percentage_also_has_a_number(guard: CountGuard) -> None:
    """Without a number the percentage would not be compared."""
    assert guard.percent is None or guard.limit.default is not None


@EACH_GUARD
def test_limit_of_the_configuration_is_the_limit_of_its_guard_alone(guard: CountGuard) -> None:
    counts = {each.code: each.limit.default for each in COUNT_GUARDS}

    assert LimitSettings.model_validate({guard.limit.key: 71}).limits().counts == counts | {guard.code: 71}


def test_every_guard_that_counts_has_one_row() -> None:
    codes = [guard.code for guard in COUNT_GUARDS]

    assert len(set(codes)) == len(codes)
    assert set(codes) == {code for code in GuardCode if code.startswith("max-")}


def test_filter_by_kind_and_by_email_change() -> None:
    moving = replace(a_change(Kind.UPDATE_EMAIL), kind=Kind.REACTIVATE)

    assert ChangeFilter(kinds=frozenset({Kind.REACTIVATE})).matches(moving)
    assert not ChangeFilter(kinds=frozenset({Kind.UPDATE_EMAIL})).matches(moving)
    assert ChangeFilter(only_email_changes=True).matches(moving)
    assert not ChangeFilter(only_email_changes=True).matches(a_change())


def test_create_counts_for_its_person_and_other_changes_for_their_member() -> None:
    assert change_subject(a_change(Kind.CREATE, scim_id=None)) == key("ann")
    assert change_subject(a_change(Kind.DEACTIVATE, scim_id="m1")) == "m1"


def test_history_without_an_entry_of_a_guard_is_an_error_and_not_a_count_of_zero() -> None:
    plan = compute_plan(reads(), a_policy())
    history = dict(recent_changes())
    del history[GuardCode.MAX_CREATES]

    with pytest.raises(KeyError):
        apply_guards(plan, a_policy(limits=some_limits(max_creates=0)), GuardHistory(recent_changes=history))
