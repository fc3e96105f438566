"""The digest of a configuration, by which a run names it. No secret of a variable is in it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from agent.settings.merge import ConfigTree, KeyPath, has_path
from agent.settings.root import Settings
from connectors.secret import Secret

__all__ = ["config_sha256"]

HIDDEN = "***"


def config_sha256(raw: bytes, tree: ConfigTree, overridden: Iterable[KeyPath], settings: Settings) -> str:
    """Return the SHA-256 of the file's bytes *raw*, and of a line for each path that a variable set.

    Without such variables it is what `sha256sum` prints for the file. A line is a line feed, the path with dots, `=`
    and the value in *tree* as JSON. Where that has a secret of *settings*, it is `"***"`: the digest does not change
    with a token, and can't be used to guess one.
    """
    secrets = frozenset(_inline_secrets(settings))
    lines = [
        f"\n{'.'.join(map(str, path))}={json.dumps(_hide(_value_at(tree, path), secrets), sort_keys=True)}"
        for path in sorted(overridden, key=lambda path: [str(step) for step in path])
        if has_path(tree, path)
    ]
    return hashlib.sha256(raw + "".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _value_at(tree: Any, path: KeyPath) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def _hide(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, str):
        text = value.replace("\r\n", "\n")
        return HIDDEN if any(secret in text for secret in secrets) else value
    if isinstance(value, list):
        return [_hide(each, secrets) for each in value]
    if isinstance(value, dict):
        return {key: _hide(each, secrets) for key, each in value.items()}
    return value


def _inline_secrets(value: object) -> Iterator[str]:
    """Yield the secrets that the configuration itself contains."""
    if isinstance(value, Secret) and value.inline_value:
        yield value.inline_value
    for each in _children(value):
        yield from _inline_secrets(each)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, BaseModel):
        return [getattr(value, name) for name in type(value).model_fields]
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple | frozenset) else ()
