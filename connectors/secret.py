"""Refer to a secret by where it is kept, and read it at the moment it is needed: rotation needs no restart."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from connectors.base import CredentialsRefused

__all__ = ["Secret", "SecretError", "revealed"]

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LARGEST = 2**20
"""Bytes of a secret file that are read: a larger one (or `/dev/zero`) is a mistake."""

_revealed: set[str] = set()


def revealed() -> frozenset[str]:
    """Return every value that was revealed in this process, so that the log can keep them out of what it writes.

    Each also as JSON, Python and a URL spell it, where that is another text.
    """
    return frozenset(_revealed)


class SecretError(CredentialsRefused):
    """A secret is not where the config says it is."""

    code = "secret"


class Secret:
    """A secret in an environment variable (`{env: NAME}`), a file (`{file: PATH}`) or, at worst, the config itself.

    Nothing that prints it shows its value. Two are equal when they are kept in the same place.
    """

    __slots__ = ("_kind", "_place")

    def __init__(self, kind: str, place: str) -> None:
        self._kind = kind
        self._place = place

    @property
    def written(self) -> str | None:
        """Return what is written into the configuration itself; None for a secret that is kept elsewhere."""
        return None if self._kind in {"env", "file"} else self._place

    def reveal(self) -> str:
        """Return the value, without a trailing newline. Raises `SecretError` where there is none."""
        match self._kind:
            case "env":
                value = self._from_environment()
            case "file":
                value = self._from_file()
            case _:
                value = self._place
        _revealed.update((value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, "", errors="replace")))
        return value

    def _from_environment(self) -> str:
        value = os.environ.get(self._place, "").rstrip("\r\n")
        if not value.strip():
            raise SecretError(
                f"The environment variable {self._place} is not set or empty.",
                f"Set {self._place} where pigment-sync runs, or name another place for the secret in the config.",
            )
        return value

    def _from_file(self) -> str:
        try:
            with Path(self._place).open("rb") as file:
                # Windows editors open a UTF-8 file with a mark that is no part of the secret.
                value = file.read(LARGEST + 1).decode("utf-8-sig").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SecretError(
                f"The secret file {self._place} can't be read ({why}).",
                "Mount the file, and let the user that pigment-sync runs as read it.",
            ) from None
        if not value.strip():
            raise SecretError(f"The secret file {self._place} is empty.", "Write the secret into it.")
        if len(value) > LARGEST:
            raise SecretError(
                f"The secret file {self._place} is larger than a secret can be.", "Name the file that holds the secret."
            )
        return value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self._kind, self._place) == (other._kind, other._place)

    def __hash__(self) -> int:
        return hash((self._kind, self._place))

    def __repr__(self) -> str:
        return f"Secret({self._kind}: {self._place})" if self._kind in {"env", "file"} else "Secret(**********)"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _secret_from, serialization=core_schema.plain_serializer_function_ser_schema(repr)
        )


def _secret_from(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return _written(value)
    if isinstance(value, dict) and len(value) == 1:
        match next(iter(value.items())):
            case ("env", str(name)):
                return _in_environment(name)
            case ("file", str(path)):
                return _in_file(path)
    raise ValueError(
        "must be text: put it in quotes"
        if isinstance(value, int | float)
        else "must be {env: NAME} or {file: PATH} (mind the space after the colon), or the secret itself"
    )


def _written(text: str) -> Secret:
    if not text.strip():
        raise ValueError("must not be empty; write {env: NAME} or {file: PATH}")
    return Secret("value", text.rstrip("\r\n"))


def _in_environment(name: str) -> Secret:
    # What is no name may be the secret itself, so it is not repeated.
    if not VARIABLE.fullmatch(name):
        raise ValueError("env must be the name of an environment variable: letters, digits and _, no digit first")
    return Secret("env", name)


def _in_file(path: str) -> Secret:
    if not path.strip() or "\0" in path or "\n" in path:
        raise ValueError("file must be the path of the file that holds the secret")
    return Secret("file", path)
