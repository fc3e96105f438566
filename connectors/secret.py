"""Refer to a secret by its location, and read it when it is needed, so that rotation needs no restart."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from connectors.base import CredentialsRefused

__all__ = [
    "Secret",
    "SecretError",
    "SecretFileMissing",
    "SecretInvalid",
    "SecretNotSet",
    "SecretUnreadable",
    "is_header_safe",
    "parse_reference",
    "revealed_values",
]

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_FILE_BYTES = 2**20
"""Bytes of a secret file that are read: a larger one (or `/dev/zero`) is a mistake."""

REFERENCE = re.compile(
    r"""\{\s*(["']?)(?P<kind>env|file)\1\s*:\s*"""
    r"""(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'|(?P<plain>[^\s"'{}][^"'{}\n]*?))\s*\}"""
)
"""`{"env": "NAME"}` as JSON, and `{env: NAME}` as YAML: what a template or a variable hands on as one text."""

BROKEN_REFERENCE = re.compile(r"""\{\s*["']?(env|file)["']?\s*:.*""", re.DOTALL)
SHORT_REFERENCE = re.compile(r"(env|file):\S+")
PLACEHOLDER_PATTERN = re.compile(r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|\{\{.*\}\}|<[^<>]*>|\.{3}|…")
PLACEHOLDER_WORDS = frozenset(
    "null none nil undefined todo changeme change-me change_me replaceme replace-me replace_me".split()  # noqa: SIM905
)
QUOTE_PAIRS = frozenset({'""', "''", "``", "“”", "‘’"})
PEM_PREFIX = "-----BEGIN "
DER_PREFIX = b"\x30"
"""How DER begins, in which keys, certificates and PKCS#12 files are written that are not PEM."""

PEM_HINT = "Turn it into PEM: `openssl pkcs12 -in FILE -nodes -out key.pem`, or `openssl pkey -inform DER -in FILE`."
HEADER_SAFE = re.compile(r"[!-~]+")
"""What an Authorization header can carry."""

AUTH_SCHEME_PREFIX = re.compile(r"(?i)(bearer|ssws|basic|authorization:)\s")
ONE_LINE_HINT = "Put only the token there, as it was shown: one line, without quotation marks or spaces."
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")

_revealed_values: set[str] = set()


def is_header_safe(text: str) -> bool:
    """Return whether an Authorization header can carry *text* as a token."""
    return HEADER_SAFE.fullmatch(text) is not None


def revealed_values() -> frozenset[str]:
    """Return every value that was revealed in this process, so that the log can redact them.

    Each also in the encodings of JSON, Python and URLs, where those differ.
    """
    return frozenset(_revealed_values)


class SecretError(CredentialsRefused):
    """A secret is missing or not usable where the config refers to it: the cause is the configuration, not a server."""


class SecretNotSet(SecretError):
    """The environment variable is not set, or empty."""

    code = "secret-not-set"


class SecretUnreadable(SecretError):
    """The file does not exist, can't be read, is empty, or is not text."""

    code = "secret-unreadable"


class SecretFileMissing(SecretUnreadable):
    """The file does not exist."""


class SecretInvalid(SecretError):
    """The value can't be this secret: a placeholder, a reference, a public key."""

    code = "secret-invalid"


class Secret:
    """A secret in an environment variable (`{env: NAME}`), a file (`{file: PATH}`) or, at worst, the config itself.

    Printing it never shows its value. Two are equal when they have the same location.
    """

    __slots__ = ("_kind", "_place")

    def __init__(self, kind: str, place: str) -> None:
        self._kind = kind
        self._place = place

    @property
    def inline_value(self) -> str | None:
        """Return the value in the configuration itself, None for a secret with another location."""
        return None if self._kind in {"env", "file"} else self._place

    @property
    def file(self) -> Path | None:
        """Return the file that holds it, None for a secret with another location."""
        return Path(self._place) if self._kind == "file" else None

    @property
    def location(self) -> str:
        """Return its location, safe for any message."""
        words = {"env": f"the environment variable {self._place}", "file": f"the file {self._place}"}
        return words.get(self._kind, "the configuration")

    def reveal(self) -> str:
        """Return the value without white space around it. Raises `SecretError` if it is missing or not usable."""
        match self._kind:
            case "env":
                raw = self._read_environment()
            case "file":
                raw = self._read_file()
            case _:
                raw = self._place
        value = _strip_wrapping(raw)
        if wrong := _secret_problem(value):
            raise SecretInvalid(
                f"{self.location[0].upper()}{self.location[1:]} does not hold a secret: it {wrong}.",
                "Put only the secret there, as the provider showed it, without quotation marks.",
            )
        for each in {raw.rstrip("\r\n"), value}:
            _revealed_values.update((each, json.dumps(each)[1:-1], repr(each)[1:-1], quote(each, "", errors="replace")))
        return value

    def reveal_token(self) -> str:
        """Return a value for an HTTP header. Raises `SecretError` for one that a header can't carry."""
        value = self.reveal()
        if not is_header_safe(value):
            why = "blanks, line breaks or letters that no token has"
            if AUTH_SCHEME_PREFIX.match(value):
                why = "the word of an Authorization header before the token"
            raise SecretInvalid(f"{self.location[0].upper()}{self.location[1:]} holds {why}.", ONE_LINE_HINT)
        return value

    def _read_environment(self) -> str:
        value = os.environ.get(self._place, "")
        if not value.strip():
            raise SecretNotSet(
                f"The environment variable {self._place} is not set or empty.",
                f"Set {self._place} where pigment-sync runs, or name another place for the secret in the config.",
            )
        return value

    def _read_file(self) -> str:
        content = self._read_bytes()
        try:
            # Windows editors start a UTF-8 file with a byte order mark, which is not part of the secret.
            value = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise self._encoding_error(content) from None
        if not value.strip():
            raise SecretUnreadable(f"The secret file {self._place} is empty.", "Write the secret into it.")
        if len(value) > MAX_FILE_BYTES:
            raise SecretUnreadable(
                f"The secret file {self._place} is larger than a secret can be.", "Name the file that holds the secret."
            )
        return value

    def _read_bytes(self) -> bytes:
        try:
            with Path(self._place).open("rb") as file:
                return file.read(MAX_FILE_BYTES + 1)
        except IsADirectoryError as error:
            # A container engine creates a folder where the file to mount does not exist.
            raise SecretUnreadable(
                f"The secret file {self._place} can't be read ({error.strerror}).",
                "Name the file in that folder. If it should be a file itself, check that the file exists on the host.",
            ) from None
        except OSError as error:
            kind = SecretFileMissing if isinstance(error, FileNotFoundError) else SecretUnreadable
            raise kind(
                f"The secret file {self._place} can't be read ({error.strerror}).",
                "Mount the file, and give the user that runs pigment-sync read permission.",
            ) from None

    def _encoding_error(self, content: bytes) -> SecretUnreadable:
        why, hint = "it is not UTF-8", "Save it as UTF-8 text."
        if content.startswith(UTF16_BOMS):
            why = "it is UTF-16, not UTF-8"
            hint = "Save it as UTF-8; in Windows PowerShell: Set-Content -Encoding ascii."
        elif content.startswith(DER_PREFIX):
            why, hint = "it is binary, DER or PKCS#12, not UTF-8 text", PEM_HINT
        return SecretUnreadable(f"The secret file {self._place} can't be read ({why}).", hint)

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
            _secret_from_config,
            # One definition of the JSON Schema, to which all fields refer.
            ref=f"{cls.__module__}.{cls.__qualname__}:0",
            serialization=core_schema.plain_serializer_function_ser_schema(repr),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the forms in which the configuration may hold a secret."""
        references = [
            {
                "type": "object",
                "properties": {key: {"type": "string", "description": description, "pattern": pattern}},
                "required": [key],
                "additionalProperties": False,
            }
            for key, description, pattern in (
                ("env", "The name of the environment variable that holds it.", f"^{VARIABLE_NAME.pattern}$"),
                ("file", "The path of the file that holds it, relative to the configuration.", r"\S"),
            )
        ]
        return {
            "description": "A secret: {env: NAME}, {file: PATH}, or at worst the text itself.",
            "anyOf": [*references, {"type": "string", "minLength": 1}],
        }


def _secret_from_config(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return _secret_from_text(value)
    if isinstance(value, dict) and len(value) == 1:
        match next(iter(value.items())):
            case ("env", str(name)):
                return _environment_secret(name)
            case ("file", str(path)):
                return _file_secret(path)
    raise ValueError(
        "must be text: put it in quotes"
        if isinstance(value, int | float)
        else "must be {env: NAME} or {file: PATH} (mind the space after the colon), or the secret itself"
    )


def _secret_from_text(text: str) -> Secret:
    if not text.strip():
        raise ValueError("must not be empty; write {env: NAME} or {file: PATH}")
    if (reference := parse_reference(text)) is not None:
        return _secret_from_config(reference)
    value = _strip_wrapping(text)
    is_short = SHORT_REFERENCE.fullmatch(value) is not None and not value.startswith("file://")
    if is_short or BROKEN_REFERENCE.fullmatch(value):
        raise ValueError("must be {env: NAME} or {file: PATH}, with braces and a space after the colon")
    if wrong := _secret_problem(value):
        raise ValueError(f"{wrong}; write the secret itself, {{env: NAME}} or {{file: PATH}}")
    return Secret("value", value)


def parse_reference(text: str) -> dict[str, str] | None:
    """Return the reference that *text* holds as JSON or YAML; None when it is not a reference."""
    match = REFERENCE.fullmatch(text.strip())
    if match is None:
        return None
    place = next(each for each in match.group("double", "single", "plain") if each is not None)
    return {match["kind"]: place}


def _strip_wrapping(text: str) -> str:
    """Return *text* without what a file, a shell or an editor adds around it."""
    bare = text.replace("\r\n", "\n").strip().strip("\ufeff").strip()
    # Quotation marks of an .env file are never part of a key in PEM.
    return bare[1:-1].strip() if bare[1:].startswith(PEM_PREFIX) and bare[:1] + bare[-1:] in QUOTE_PAIRS else bare


def _secret_problem(value: str) -> str:
    """Return why *value* is surely not a secret, without repeating it; empty when it may be one."""
    if BROKEN_REFERENCE.fullmatch(value):
        return "is a reference to a secret, not the secret"
    if value[:1] + value[-1:] in QUOTE_PAIRS and len(value) > 1:
        return "is in quotation marks, which would be sent as a part of it"
    if value.lower() in PLACEHOLDER_WORDS or PLACEHOLDER_PATTERN.fullmatch(value):
        return "is a placeholder that was not filled in"
    return ""


def _environment_secret(name: str) -> Secret:
    # An invalid name may be the secret itself, so it is not repeated.
    if not VARIABLE_NAME.fullmatch(name):
        raise ValueError("env must be the name of an environment variable: letters, digits and _, no digit first")
    return Secret("env", name)


def _file_secret(path: str) -> Secret:
    if not path.strip() or "\0" in path or "\n" in path:
        raise ValueError("file must be the path of the file that holds the secret")
    return Secret("file", path)
