"""Find the configuration file and read its YAML, or say where and what is wrong, without repeating a line of it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from agent.errors import ConfigError
from agent.settings.tree import Tree

__all__ = ["found", "read"]

VARIABLE = "PIGMENT_SYNC_CONFIG"
LOCAL, SYSTEM = Path("config.yaml"), Path("/etc/pigment-sync/config.yaml")
# What the library says of the commonest slips, and what the person who made one needs to hear.
PLAIN = {
    r"could not find expected ':'": "a key without its colon, or a value that goes on in the next line",
    r"mapping values are not allowed": "a colon where none may stand: put the value in quotes, or mend the spaces",
    r"cannot start any token": "a value that starts with a tab, @, `, % or |: indent with spaces, put values in quotes",
    r"expected <block end>": "the spaces before this line do not fit the lines above it",
    r"expected ',' or": "a bracket that is not closed, or a comma that is missing",
    r"undefined alias|expected alphabetic or numeric": "a value that starts with * or &: put it in quotes",
    r"determine a constructor|tag handle|URI": "a value that starts with !: put it in quotes",
    r"another document": "a second document starts here (---): keep one",
    r"unexpected end of stream": "a quotation mark is never closed",
    r"unhashable key": "braces where a value should stand: a template that was not filled in?",
    r"unknown escape|escape sequence|expected escape": "a backslash in double quotes: use single quotes",
}
MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, with two differences.

    A key that stands twice is an error and not the last one's silent victory. A key is the text that stands there: YAML
    1.1 would read `on:` as true and `2027:` as a number.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                key.tag = "tag:yaml.org,2002:str"
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, "a key that stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def found(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file to read: *path*, else $PIGMENT_SYNC_CONFIG, else ./config.yaml, else the system's."""
    if path is not None:
        return _existing(path, "--config names")
    if environ.get(VARIABLE):
        return _existing(Path(environ[VARIABLE]), f"${VARIABLE} names")
    for candidate in (LOCAL, SYSTEM):
        if _is_there(candidate):
            return candidate
    raise ConfigError(
        f"There is no configuration: neither --config nor ${VARIABLE} is set, "
        f"and neither {LOCAL.absolute()} nor {SYSTEM} exists.",
        f"Write {LOCAL} with `pigment-sync init` or after config.example.yaml, mount one at {SYSTEM}, "
        "or try `pigment-sync demo`, which needs none.",
    )


def _existing(path: Path, who: str) -> Path:
    if not _is_there(path):
        raise ConfigError(
            f"There is no configuration {path.absolute()}, which {who}.",
            "Name the file that exists, mount it there, or start from config.example.yaml.",
        )
    return path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A folder that we may not look into: reading says so.
        return True


def read(file: Path) -> Tree:
    """Return what stands in *file*. Raises `ConfigError` with line and column."""
    try:
        text = file.read_bytes().decode()
    except IsADirectoryError:
        # What a container engine makes where the file that it was told to mount does not exist.
        raise ConfigError(
            f"{file} is a folder, not a file.", "Name or mount the file itself; look for it on the host first."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{file} can't be read ({error.strerror}).",
            "Let the user that pigment-sync runs as read it, or name another file with --config.",
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 (at byte {error.start + 1}).", "Save it as UTF-8.") from None
    try:
        tree = yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"{file} can't be read as YAML: {_said(error, text)}.", f"Mend that line of {file}."
        ) from None
    except RecursionError:
        raise ConfigError(f"{file} is nested without end.", "Take out the alias (*) that refers to itself.") from None
    if not isinstance(tree, dict):
        what = "is empty" if tree is None else "does not hold keys with values"
        raise ConfigError(f"{file} {what}.", "Start from config.example.yaml.")
    return tree


def _said(error: Exception, text: str) -> str:
    """Return where it went wrong and what to look for. The library's own words may quote a secret."""
    problem = str(getattr(error, "problem", None) or "")
    words = next((plain for pattern, plain in PLAIN.items() if re.search(pattern, problem)), "")
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        line, column = before.count("\n"), error.position - before.rfind("\n") - 1
        words = "a character that YAML does not allow"
    elif mark := getattr(error, "problem_mark", None):
        line, column = mark.line, mark.column
        words = words or ("a key that stands twice" if "twice" in problem else "something that is no YAML")
    else:
        return "a date or number in it can't be read; put it in quotes"
    return f"line {line + 1}, column {column + 1}: {words}"
