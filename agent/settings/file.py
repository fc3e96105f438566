"""Find the configuration file and read its YAML, or say where and what is wrong, without repeating a line of it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from agent.errors import ConfigError
from agent.settings.merge import ConfigTree

__all__ = ["find_config_file", "read_config_file"]

CONFIG_VARIABLE = "PIGMENT_SYNC_CONFIG"
LOCAL_PATH, SYSTEM_PATH = Path("config.yaml"), Path("/etc/pigment-sync/config.yaml")
# What the library says of the commonest slips, and what the person who made one needs to hear.
YAML_HINTS = {
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
MERGE_TAG = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset, with two differences.

    A key that stands twice is an error and not the last one's silent victory. A key is the text that stands there: YAML
    1.1 would read `on:` as true and `2027:` as a number.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE_TAG:
                key.tag = "tag:yaml.org,2002:str"
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, "a key that stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def find_config_file(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file to read: *path*, else $PIGMENT_SYNC_CONFIG, else ./config.yaml, else the system's."""
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
        f"Write {LOCAL_PATH} with `pigment-sync init` or after config.example.yaml, mount one at {SYSTEM_PATH}, "
        "or try `pigment-sync demo`, which needs none.",
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
        # A folder that we may not look into: reading says so.
        return True


def read_config_file(file: Path) -> ConfigTree:
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
        tree = yaml.load(text, _StrictLoader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"{file} can't be read as YAML: {_yaml_error_message(error, text)}.", f"Mend that line of {file}."
        ) from None
    except RecursionError:
        raise ConfigError(f"{file} is nested without end.", "Take out the alias (*) that refers to itself.") from None
    if not isinstance(tree, dict):
        what = "is empty" if tree is None else "does not hold keys with values"
        raise ConfigError(f"{file} {what}.", "Start from config.example.yaml.")
    return tree


def _yaml_error_message(error: Exception, text: str) -> str:
    """Return where it went wrong and what to look for. The library's own words may quote a secret."""
    problem = str(getattr(error, "problem", None) or "")
    words = next((plain for pattern, plain in YAML_HINTS.items() if re.search(pattern, problem)), "")
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
