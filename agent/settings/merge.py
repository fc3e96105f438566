"""Merge the configuration as nested mappings and lists, before it is validated. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from connectors.secret import parse_reference

__all__ = ["ConfigTree", "KeyPath", "has_path", "merge_trees", "with_absolute_paths", "with_defaults"]

ConfigTree = dict[str, Any]
KeyPath = tuple[str | int, ...]

# Keys that replace others: a schedule with `every` does not also keep `cron`.
DISPLACED_KEYS: Mapping[object, frozenset[str]] = {
    "env": frozenset({"file"}),
    "file": frozenset({"env"}),
    "every": frozenset({"cron", "timezone"}),
    "cron": frozenset({"every"}),
}
SQLITE_FILE_URL = re.compile(r"(sqlite:///)(?!/|:memory:|file:)(.+)")


def merge_trees(lower: object, upper: object) -> Any:
    """Merge *upper* over *lower*, key by key; lists and plain values are replaced.

    An *upper* with numbers as keys changes those entries of a list.
    """
    if isinstance(lower, list) and isinstance(upper, dict) and _is_indexed(upper, len(lower)):
        return [merge_trees(each, upper[place]) if place in upper else each for place, each in enumerate(lower)]
    if not isinstance(lower, dict) or not isinstance(upper, dict):
        return upper
    displaced = frozenset[str]().union(*(DISPLACED_KEYS.get(key, frozenset()) for key in upper))
    kept = {key: value for key, value in lower.items() if key not in displaced}
    return {key: merge_trees(kept.get(key), upper[key]) if key in upper else kept[key] for key in {**kept, **upper}}


def _is_indexed(upper: Mapping[object, object], length: int) -> bool:
    return all(isinstance(key, int) and key < length for key in upper)


def with_defaults(tree: ConfigTree) -> ConfigTree:
    """Return *tree* with its `defaults` applied to each workspace that does not set a key."""
    defaults, workspaces = tree.get("defaults"), tree.get("workspaces")
    if not isinstance(defaults, dict) or not isinstance(workspaces, dict):
        return tree
    return {
        **tree,
        "defaults": {},
        "workspaces": {
            name: merge_trees(defaults, each) if isinstance(each, dict) else each for name, each in workspaces.items()
        },
    }


def with_absolute_paths(tree: ConfigTree, folder: FilePath, state_url: str) -> ConfigTree:
    """Return *tree* with paths relative to *folder*; *state_url* is used if the tree has none."""
    resolved: ConfigTree = {key: _resolve_secret_paths(value, folder) for key, value in tree.items()}
    if isinstance(resolved.get("ca_bundle"), str):
        resolved["ca_bundle"] = str(folder / resolved["ca_bundle"])
    state = resolved.setdefault("state", {})
    if isinstance(state, dict):
        url = state.get("url", state_url)
        match = SQLITE_FILE_URL.fullmatch(url) if isinstance(url, str) else None
        resolved["state"] = {**state, "url": f"{match[1]}{folder / match[2]}" if match else url}
    return resolved


def _resolve_secret_paths(tree: Any, folder: FilePath) -> Any:
    """Resolve each `{file: PATH}`, at any depth, also one written as text by a variable or a template."""
    if isinstance(tree, str):
        reference = parse_reference(tree)
        return tree if reference is None else _resolve_secret_paths(reference, folder)
    if isinstance(tree, list):
        return [_resolve_secret_paths(each, folder) for each in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1 and isinstance(tree.get("file"), str) and tree["file"].strip():
        return {"file": str(folder / tree["file"])}
    return {key: _resolve_secret_paths(value, folder) for key, value in tree.items()}


def has_path(tree: object, path: Sequence[str | int]) -> bool:
    """Return whether *tree* has a value, even null, at *path*."""
    for step in path:
        inside = dict(enumerate(tree)) if isinstance(tree, list) else tree
        if not isinstance(inside, dict) or step not in inside:
            return False
        tree = inside[step]
    return True
