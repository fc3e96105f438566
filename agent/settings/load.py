"""Load the configuration: find the file, read it, lay the environment over it, check it, or say what is wrong."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from agent.errors import ConfigError
from agent.settings.problem import problems
from agent.settings.root import Settings

__all__ = ["load"]

VARIABLE = "PIGMENT_SYNC_CONFIG"
SYSTEM = Path("/etc/pigment-sync/config.yaml")
# Keys whose value is a path, at any depth: relative ones are relative to the file.
PATHS = frozenset({"file", "ca_bundle"})
PREFIX = "PIGMENT_SYNC__"
SQLITE = "sqlite:///"
Tree = dict[str, Any]


class _UniqueLoader(yaml.SafeLoader):
    """YAML's safe subset, in which a key that stands twice is an error and not the last one's silent victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the configuration of *path*, else of $PIGMENT_SYNC_CONFIG, ./config.yaml or the system's.

    Raises `ConfigError`, which names every problem with its path in the file and never a secret.
    """
    file = _found(path, environ)
    tree = _read(file)
    tree = _merged(tree, _environment(tree, environ))
    tree = _absolute(_with_defaults(tree), file.resolve().parent)
    try:
        return Settings(**tree)
    except ValidationError as error:
        lines = "\n".join(f"  {problem}" for problem in problems(error))
        raise ConfigError(f"{file} is not valid:\n{lines}", "docs/configuration.md describes every key.") from None


def _found(path: Path | None, environ: Mapping[str, str]) -> Path:
    if path is not None:
        return path
    if environ.get(VARIABLE):
        return Path(environ[VARIABLE])
    for candidate in (Path("config.yaml"), SYSTEM):
        if candidate.exists():
            return candidate
    raise ConfigError(
        f"There is no configuration: neither --config nor ${VARIABLE} is set, and there is no config.yaml or {SYSTEM}.",
        "Copy config.example.yaml to config.yaml, or try `pigment-sync demo`, which needs none.",
    )


def _read(file: Path) -> Tree:
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{file} can't be read ({error.strerror}).", "Name a readable file with --config, or mount it there."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8.", "Save it as UTF-8.") from error
    try:
        tree = yaml.load(text, _UniqueLoader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{file} is not YAML: {_place(error)}", "Mend that line; mind the spaces before it."
        ) from None
    if not isinstance(tree, dict):
        what = "is empty" if tree is None else "is not a mapping of keys"
        raise ConfigError(f"{file} {what}.", "Start from config.example.yaml.")
    return {str(key): value for key, value in tree.items()}


def _place(error: yaml.YAMLError) -> str:
    """Return where and what, without the line itself, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}{getattr(error, 'problem', None) or 'it can not be read'}"


def _environment(tree: Tree, environ: Mapping[str, str]) -> Tree:
    """Return what environment variables set, under the keys that the file spells."""
    for name in sorted(environ):
        key = name.upper().removeprefix(PREFIX)
        if key != name.upper() and key.partition("__")[0].lower() not in Settings.model_fields:
            raise ConfigError(f"The environment variable {name} sets no known key.", "See docs/configuration.md.")
    try:
        found = EnvSettingsSource(Settings)()
    except ValueError as error:
        raise ConfigError(f"The environment can't be read: {error}.", "Write lists and mappings as JSON.") from None
    return _spelled(found, tree)


def _spelled(found: Mapping[str, Any], tree: object) -> Tree:
    """Match `pigment_latam` with the file's `pigment-latam`: variables can't hold dashes, and are upper case."""
    keys = {_folded(key): key for key in tree} if isinstance(tree, dict) else {}
    spelled: Tree = {}
    for name, value in found.items():
        key = keys.get(_folded(name), name)
        below = tree.get(key) if isinstance(tree, dict) else None
        spelled[key] = _spelled(value, below) if isinstance(value, dict) else value
    return spelled


def _folded(key: object) -> str:
    return str(key).lower().replace("-", "_")


def _merged(lower: object, upper: object) -> Any:
    """Lay *upper* over *lower*, key by key; lists and plain values are replaced."""
    if isinstance(lower, dict) and isinstance(upper, dict) and not _is_secret(lower) and not _is_secret(upper):
        return {key: _merged(lower.get(key), upper[key]) if key in upper else lower[key] for key in {**lower, **upper}}
    return upper


def _is_secret(tree: Mapping[str, Any]) -> bool:
    return len(tree) == 1 and not {"env", "file"}.isdisjoint(tree)


def _with_defaults(tree: Tree) -> Tree:
    defaults, workspaces = tree.get("defaults"), tree.get("workspaces")
    if not isinstance(defaults, dict) or not isinstance(workspaces, dict):
        return tree
    merged = {name: _merged(defaults, each) if isinstance(each, dict) else each for name, each in workspaces.items()}
    return {**tree, "workspaces": merged}


def _absolute(tree: Any, folder: Path) -> Any:
    if isinstance(tree, list):
        return [_absolute(each, folder) for each in tree]
    if not isinstance(tree, dict):
        return tree
    resolved = {}
    for key, value in tree.items():
        if key in PATHS and isinstance(value, str):
            resolved[key] = str(folder / value)
        elif key == "url" and isinstance(value, str) and value.startswith(SQLITE) and value != SQLITE:
            resolved[key] = f"{SQLITE}{folder / value.removeprefix(SQLITE)}"
        else:
            resolved[key] = _absolute(value, folder)
    return resolved
