"""Find the configuration file and read its YAML. Errors give the line and the reason, and repeat no value."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from agent.errors import ConfigError
from agent.settings.merge import ConfigTree

__all__ = ["find_config_file", "parse_config", "read_config_bytes", "read_config_file"]

CONFIG_VARIABLE = "PIGMENT_SYNC_CONFIG"
LOCAL_PATH, SYSTEM_PATH = Path("config.yaml"), Path("/etc/pigment-sync/config.yaml")
# The library's message for common mistakes, and the explanation of each.
YAML_HINTS = {
    r"could not find expected ':'": "a key without its colon, or a value that continues on the next line",
    r"mapping values are not allowed": "a colon that is not allowed here: put the value in quotes, or fix the spaces",
    r"cannot start any token": "a value that starts with a tab, @, `, % or |: indent with spaces, put values in quotes",
    r"expected <block end>": "the indentation of this line does not match the lines above it",
    r"expected ',' or": "a bracket that is not closed, or a comma that is missing",
    r"undefined alias|expected alphabetic or numeric": "a value that starts with * or &: put it in quotes",
    r"determine a constructor|tag handle|URI": "a value that starts with !: put it in quotes",
    r"another document": "a second document starts here (---): keep one",
    r"unexpected end of stream": "a quotation mark is never closed",
    r"unhashable key": "braces instead of a value: a template that was not filled in?",
    r"unknown escape|escape sequence|expected escape": "a backslash in double quotes: use single quotes",
}
MERGE_TAG = "tag:yaml.org,2002:merge"


class _DuplicateKeyError(yaml.constructor.ConstructorError):
    """A key that appears twice in one mapping; its problem is a message of our own."""


class _StrictConstructor(yaml.constructor.SafeConstructor):
    """YAML's safe subset, with two differences.

    A duplicate key is an error: YAML would silently keep the last one. A key is always text: YAML 1.1 would read `on:`
    as true and `2027:` as a number.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first_lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE_TAG:
                key.tag = "tag:yaml.org,2002:str"
                line = key.start_mark.line + 1
                if key.value in first_lines:
                    raise _DuplicateKeyError(
                        None,
                        None,
                        f"duplicate key `{key.value}` (lines {first_lines[key.value]} and {line})",
                        key.start_mark,
                    )
                first_lines[key.value] = line
        return super().construct_mapping(node, deep)


class _StrictLoader(_StrictConstructor, yaml.SafeLoader):
    """Gives the messages for a text that is not valid."""


def _fast_loader() -> Any:
    """Return a loader that reads a text with libyaml, in a seventh of the time, where it is there.

    Not its composer: that recurses without a limit, so a text that is nested deeply enough would end the process.
    """
    if not yaml.__with_libyaml__:
        return _StrictLoader
    from yaml._yaml import CParser

    class Loader(yaml.composer.Composer, CParser, _StrictConstructor, yaml.resolver.Resolver):
        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            yaml.composer.Composer.__init__(self)
            _StrictConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return Loader


_FAST_LOADER = _fast_loader()


def find_config_file(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file to read: *path*, $PIGMENT_SYNC_CONFIG, ./config.yaml or the system's, in this order."""
    if path is not None:
        return _require_existing(path, "--config names")
    if environ.get(CONFIG_VARIABLE):
        return _require_existing(Path(environ[CONFIG_VARIABLE]), f"${CONFIG_VARIABLE} names")
    for candidate in (LOCAL_PATH, SYSTEM_PATH):
        if _is_present(candidate):
            return candidate
    raise ConfigError(
        f"There is no configuration: neither --config nor ${CONFIG_VARIABLE} is set, "
        f"and neither {LOCAL_PATH.absolute()} nor {SYSTEM_PATH} exists.",
        f"Write {LOCAL_PATH} with `pigment-sync init` or from config.example.yaml, mount one at {SYSTEM_PATH}, "
        "or try `pigment-sync demo`, which needs no configuration.",
    )


def _require_existing(path: Path, who: str) -> Path:
    if not _is_present(path):
        raise ConfigError(
            f"There is no configuration {path.absolute()}, which {who}.",
            "Name the file that exists, mount it there, or start from config.example.yaml.",
        )
    return path


def _is_present(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A folder without permission: reading reports it.
        return True


def read_config_file(file: Path) -> ConfigTree:
    """Return the content of *file*. Raises `ConfigError` with line and column."""
    return parse_config(read_config_bytes(file), file)


def read_config_bytes(file: Path) -> bytes:
    """Return the bytes of *file*. Raises `ConfigError`."""
    try:
        return file.read_bytes()
    except IsADirectoryError:
        # A container engine creates a folder when the file to mount does not exist.
        raise ConfigError(
            f"{file} is a folder, not a file.", "Name or mount the file itself; check first that it exists on the host."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{file} can't be read ({error.strerror}).",
            "Give the user of pigment-sync read permission, or name another file with --config.",
        ) from None


def parse_config(raw: bytes, file: Path) -> ConfigTree:
    """Return the content *raw* of *file*. Raises `ConfigError` with line and column."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 (at byte {error.start + 1}).", "Save it as UTF-8.") from None
    try:
        tree = _tree(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"{file} can't be read as YAML: {_yaml_error_message(error, text)}.", f"Fix that line of {file}."
        ) from None
    except RecursionError:
        raise ConfigError(f"{file} is nested without end.", "Remove the alias (*) that refers to itself.") from None
    if not isinstance(tree, dict):
        what = "is empty" if tree is None else "does not contain keys with values"
        raise ConfigError(f"{file} {what}.", "Start from config.example.yaml.")
    return tree


def _tree(text: str) -> Any:
    try:
        return yaml.load(text, _FAST_LOADER)  # noqa: S506  (a SafeConstructor)
    except (yaml.YAMLError, ValueError):
        return yaml.load(text, _StrictLoader)  # noqa: S506  (a SafeLoader)


def _yaml_error_message(error: Exception, text: str) -> str:
    """Return the position and the likely cause. The library's own message may quote a secret."""
    problem = str(getattr(error, "problem", None) or "")
    message = next((plain for pattern, plain in YAML_HINTS.items() if re.search(pattern, problem)), "")
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        line, column = before.count("\n"), error.position - before.rfind("\n") - 1
        message = "a character that YAML does not allow"
    elif mark := getattr(error, "problem_mark", None):
        line, column = mark.line, mark.column
        message = problem if isinstance(error, _DuplicateKeyError) else message or "not valid YAML"
    else:
        return "a date or number in it can't be read; put it in quotes"
    return f"line {line + 1}, column {column + 1}: {message}"
