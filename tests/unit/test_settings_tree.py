"""Merging of the file, the environment and `defaults`, and the base of relative paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.settings.merge import has_path, merge_trees, with_absolute_paths, with_defaults

FOLDER = Path("/etc/pigment-sync")


@pytest.mark.parametrize(
    ("lower", "upper", "result"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": [1, {"x": 1, "y": 2}]}, {"a": {1: {"x": 5}}}, {"a": [1, {"x": 5, "y": 2}]}),
        ({"t": {"env": "A"}}, {"t": {"file": "b"}}, {"t": {"file": "b"}}),
        ({"t": {"file": "b"}}, {"t": {"env": "A"}}, {"t": {"env": "A"}}),
        ({"s": {"every": "1h"}}, {"s": {"cron": "0 0 * * *"}}, {"s": {"cron": "0 0 * * *"}}),
        ({"s": {"cron": "x", "timezone": "UTC"}}, {"s": {"every": "1h"}}, {"s": {"every": "1h"}}),
        ({"s": {"cron": "x", "timezone": "UTC"}}, {"s": {"cron": "y"}}, {"s": {"cron": "y", "timezone": "UTC"}}),
    ],
)
def test_merge_is_key_by_key(lower: Any, upper: Any, result: Any) -> None:
    assert merge_trees(lower, upper) == result


def test_merge_does_not_modify_its_arguments() -> None:
    lower: dict[str, Any] = {"a": {"x": 1}}
    merge_trees(lower, {"a": {"y": 2}})
    assert lower == {"a": {"x": 1}}


def test_defaults_apply_to_every_workspace() -> None:
    tree = {
        "defaults": {"mode": "enforce", "limits": {"max_creates": 1}},
        "workspaces": {
            "a": {"mode": "dry-run"},
            "b": {"limits": {"max_creates": 2, "max_deactivations": 3}},
            "c": None,
        },
    }
    assert with_defaults(tree)["workspaces"] == {
        "a": {"mode": "dry-run", "limits": {"max_creates": 1}},
        "b": {"mode": "enforce", "limits": {"max_creates": 2, "max_deactivations": 3}},
        "c": None,
    }


@pytest.mark.parametrize(
    "tree", [{"defaults": 1, "workspaces": {"a": {}}}, {"workspaces": {"a": {}}}, {"defaults": {}}]
)
def test_defaults_that_are_not_a_mapping_change_nothing(tree: dict[str, Any]) -> None:
    assert with_defaults(tree) == tree


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("sqlite:///state.db", "sqlite:////etc/pigment-sync/state.db"),
        ("sqlite:///data/state.db?timeout=5", "sqlite:////etc/pigment-sync/data/state.db?timeout=5"),
        ("sqlite:////var/lib/state.db", "sqlite:////var/lib/state.db"),
        ("postgresql+psycopg://u@h/db", "postgresql+psycopg://u@h/db"),
        (None, None),
        ({"env": "URL"}, {"env": "URL"}),
    ],
)
def test_state_is_relative_to_the_file(url: object, result: object) -> None:
    assert with_absolute_paths({"state": {"url": url}}, FOLDER, "")["state"]["url"] == result


@pytest.mark.parametrize("tree", [{}, {"state": {}}])
def test_state_without_a_url_is_next_to_the_file(tree: dict[str, Any]) -> None:
    assert with_absolute_paths(tree, FOLDER, "sqlite:///state.db") == {
        "state": {"url": "sqlite:////etc/pigment-sync/state.db"}
    }


def test_files_are_relative_to_the_file_at_any_depth() -> None:
    tree = {
        "state": {"url": {"file": "url"}},
        "ca_bundle": "ca.pem",
        "workspaces": {"a": {"tokens": [{"file": "token"}, {"file": "/run/secrets/next"}, {"env": "file"}]}},
        "connectors": {"file": {"type": "okta", "private_key": {"file": "../key.pem"}}},
    }
    assert with_absolute_paths(tree, FOLDER, "") == {
        "state": {"url": {"file": "/etc/pigment-sync/url"}},
        "ca_bundle": "/etc/pigment-sync/ca.pem",
        "workspaces": {
            "a": {"tokens": [{"file": "/etc/pigment-sync/token"}, {"file": "/run/secrets/next"}, {"env": "file"}]}
        },
        "connectors": {"file": {"type": "okta", "private_key": {"file": "/etc/pigment-sync/../key.pem"}}},
    }


@pytest.mark.parametrize(
    "tree", [{"state": 5}, {"state": None}, {"ca_bundle": 5, "state": 1}, {"x": {"file": ""}, "state": 1}]
)
def test_values_of_the_wrong_kind_are_left_for_the_validation(tree: dict[str, Any]) -> None:
    assert with_absolute_paths(tree, FOLDER, "") == tree


@pytest.mark.parametrize(
    ("path", "is_held"),
    [
        (("a",), True),
        (("a", "b"), True),
        (("a", "b", 1), True),
        (("a", "b", 2), False),
        (("c",), False),
        (("a", "b", "x"), False),
    ],
)
def test_path_exists_when_it_has_a_value(path: tuple[str | int, ...], is_held: bool) -> None:
    assert has_path({"a": {"b": [0, None]}}, path) is is_held
