"""Switches of a pretend workspace are changed by name, and mistakes are named."""

from __future__ import annotations

import pytest

from sandbox.pigment.options import OptionError, WorkspaceOptions, with_changes


def test_switches_change_by_name() -> None:
    changed = with_changes(WorkspaceOptions(), {"page_size": 10, "patch_dropped": "204", "etags": True})
    assert changed == WorkspaceOptions(page_size=10, patch_dropped="204", etags=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pagesize": 10}, "no switch 'pagesize'"),
        ({"page_size": 0}, "1 to 1000"),
        ({"page_size": 1001}, "1 to 1000"),
        ({"page_size": "10"}, "a whole number"),
        ({"page_size": True}, "a whole number"),
        ({"etags": 1}, "true or false"),
        ({"patch_dropped": "500"}, "one of '200', '204', '400'"),
        ({"patch_dropped": ["200"]}, "one of '200', '204', '400'"),
    ],
)
def test_switches_name_what_can_not_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        with_changes(WorkspaceOptions(), changes)
