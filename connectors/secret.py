"""Refer to a secret by where it is kept, and read it at the moment it is needed: rotation needs no restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from connectors.base import CredentialsRefused

__all__ = ["Secret", "SecretError"]


class SecretError(CredentialsRefused):
    """A secret is not where the config says it is."""


class Secret:
    """A secret in an environment variable (`{env: NAME}`), a file (`{file: PATH}`) or, at worst, the config itself.

    Nothing that prints it shows its value. Two are equal when they are kept in the same place.
    """

    __slots__ = ("_kind", "_place")

    def __init__(self, kind: str, place: str) -> None:
        self._kind = kind
        self._place = place

    def reveal(self) -> str:
        """Return the value, without a trailing newline. Raises `SecretError` where there is none."""
        match self._kind:
            case "env":
                return self._from_environment()
            case "file":
                return self._from_file()
            case _:
                return self._place

    def _from_environment(self) -> str:
        value = os.environ.get(self._place, "")
        if not value:
            raise SecretError(
                f"The environment variable {self._place} is not set or empty.",
                f"Set {self._place} where pigment-sync runs, or name another place for the secret in the config.",
            )
        return value.rstrip("\r\n")

    def _from_file(self) -> str:
        try:
            value = Path(self._place).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SecretError(
                f"The secret file {self._place} can't be read ({why}).",
                "Mount the file, and let the user that pigment-sync runs as read it.",
            ) from error
        if not value:
            raise SecretError(f"The secret file {self._place} is empty.", "Write the secret into it.")
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
    if isinstance(value, str) and value:
        return Secret("value", value.rstrip("\r\n"))
    if isinstance(value, dict) and len(value) == 1:
        ((kind, place),) = value.items()
        if kind in {"env", "file"} and isinstance(place, str | Path) and str(place):
            return Secret(kind, str(place))
    raise ValueError("must be {env: NAME} or {file: PATH}, or the secret itself as text")
