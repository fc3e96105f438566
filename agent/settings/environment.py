"""Apply environment variables to the configuration: every value can be set without editing the file.

`PIGMENT_SYNC__WORKSPACES__PIGMENT_LATAM__LIMITS__MAX_CREATES=10` sets `workspaces.pigment-latam.limits.max_creates`.
Case does not matter, and `_` also matches a dash or a dot, which shells do not allow in names; the file decides how a
key is written. Lists and mappings are JSON, `null` is null, and an empty variable is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.errors import ConfigError
from agent.settings.merge import ConfigTree, KeyPath, merge_trees
from agent.settings.root import Settings

__all__ = ["with_environment"]

PREFIX = "PIGMENT_SYNC__"


def with_environment(tree: ConfigTree, environ: Mapping[str, str]) -> tuple[ConfigTree, dict[KeyPath, str]]:
    """Return *tree* with what *environ* sets, and the variable that set each path. Raises `ConfigError`."""
    origins: dict[KeyPath, str] = {}
    for name in sorted(name for name in environ if name.upper().startswith(PREFIX) and environ[name]):
        for path, value in _paths_and_values(_parse_variable(name, environ[name]), tree, name):
            origins[path] = name
            tree = merge_trees(tree, _nested(path, value))
    return tree, origins


def _parse_variable(name: str, value: str) -> ConfigTree:
    # Where it is needed: the library is a twentieth of the start of a command, and most have no variable.
    from agent.settings.variable_source import SingleVariableSource

    try:
        found = SingleVariableSource(PREFIX, name, value)()
    except ValueError:
        raise ConfigError(
            f"The environment variable {name} can't be read.",
            'Lists and mappings are written as JSON there: ["acme.com", "acme.com.br"].',
        ) from None
    if not found:
        known = ", ".join(field.upper() for field in Settings.model_fields)
        raise ConfigError(
            f"The environment variable {name} sets no known key.", f"{PREFIX} must be followed by one of {known}."
        )
    return _decode_defaults(found)


def _decode_defaults(tree: ConfigTree) -> ConfigTree:
    """Decode JSON below `defaults`: the library does not know the types of its keys."""
    return {**tree, "defaults": _decode_json(tree["defaults"])} if "defaults" in tree else tree


def _decode_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode_json(each) for key, each in value.items()}
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _paths_and_values(found: ConfigTree, tree: object, variable: str) -> list[tuple[KeyPath, Any]]:
    """Return each path that *found* sets, written as *tree* writes it, and the value there."""
    result: list[tuple[KeyPath, Any]] = []
    for name, value in found.items():
        key = _matching_key(name, tree, variable)
        if not isinstance(value, dict) or not value:
            result.append(((key,), value))
            continue
        result += [((key, *path), each) for path, each in _paths_and_values(value, _child(tree, key), variable)]
    return result


def _matching_key(name: str, tree: object, variable: str) -> str | int:
    """Match `pigment_latam` with the file's `pigment-latam`, and `0` with the first entry of a list."""
    if isinstance(tree, list):
        return _list_index(name, len(tree), variable)
    keys = [key for key in tree if _normalize_key(key) == _normalize_key(name)] if isinstance(tree, dict) else []
    if len(keys) > 1:
        raise ConfigError(
            f"The environment variable {variable} could mean any of {', '.join(keys)}.",
            "Rename them to differ in more than case, dashes, dots and underscores.",
        )
    return keys[0] if keys else name


def _list_index(name: str, length: int, variable: str) -> int:
    if not name.isdecimal() or int(name) >= length:
        raise ConfigError(
            f"The environment variable {variable} names an entry beyond the end of a list of {length}.",
            "Entries are counted from 0. To replace the whole list, omit the number and write JSON.",
        )
    return int(name)


def _normalize_key(key: str) -> str:
    return key.lower().replace("-", "_").replace(".", "_")


def _child(tree: object, key: str | int) -> object:
    if isinstance(tree, list):
        return tree[key] if isinstance(key, int) and key < len(tree) else None
    return tree.get(key) if isinstance(tree, dict) else None


def _nested(path: KeyPath, value: Any) -> Any:
    """Return *value* at the end of nested mappings (an entry of a list: under its number)."""
    for step in reversed(path):
        value = {step: value}
    return value
