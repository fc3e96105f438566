"""Load the configuration: find the file, read it, apply the environment, validate it, and report every problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from agent.errors import ConfigError
from agent.model.provenance import Provenance
from agent.settings.cross_checks import ConfigProblem, config_conflicts, report_conflicts
from agent.settings.digest import config_sha256
from agent.settings.environment import with_environment
from agent.settings.file import find_config_file, parse_config, read_config_bytes
from agent.settings.merge import ConfigTree, KeyPath, has_path, with_absolute_paths, with_defaults
from agent.settings.root import DEFAULT_STATE_URL, STATE_FILE_NAME, Settings
from agent.settings.workspace import WorkspaceSettings
from agent.version import installed_commit, installed_version

__all__ = ["load"]

MAX_STEP_LENGTH = 80


def load(path: FilePath | None, environ: Mapping[str, str]) -> Settings:
    """Return the configuration of *path*, else of $PIGMENT_SYNC_CONFIG, ./config.yaml or the system's.

    Its `provenance` names the file's bytes that were read here.

    Raises `ConfigError`, which lists every problem with its path in the file and the fix, and never contains a secret.
    """
    file = find_config_file(path, environ)
    try:
        raw = read_config_bytes(file)
        written, origins = with_environment(parse_config(raw, file), environ)
        tree = with_absolute_paths(with_defaults(written), file.absolute().parent, _default_state_url(environ))
        settings, wrong = _validate(tree)
    except RecursionError:
        raise ConfigError(f"{file} is nested without end.", "Remove the alias (*) that refers to itself.") from None
    if settings is None or wrong:
        lines = dict.fromkeys(_problem_line(problem, written, origins) for problem in wrong)
        raise ConfigError(
            "\n".join([f"{file} is not valid:", *(f"  {line}" for line in lines)]),
            f"Fix {file}. All keys: docs/configuration.md.",
        )
    settings.set_provenance(
        Provenance(
            version=installed_version(),
            commit=installed_commit(),
            config_sha256=config_sha256(raw, written, origins, settings),
        )
    )
    return settings


def _default_state_url(environ: Mapping[str, str]) -> str:
    """Return the URL of the state for a configuration without one.

    A service manager with a state folder for us names it in $STATE_DIRECTORY (systemd.exec(5)); so does our image. It
    ranks below the file, so that the service manager never overrides a `state.url`.
    """
    folder = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return f"sqlite:///{folder}/{STATE_FILE_NAME}" if folder else DEFAULT_STATE_URL


def _validate(tree: ConfigTree) -> tuple[Settings | None, list[ConfigProblem]]:
    """Return the settings, or every problem: conflicts between parts are reported together with invalid values."""
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        # A valid configuration, which nearly every command has, does not wait for what explains an invalid one.
        from agent.settings.messages import validation_problems

        return None, [
            *validation_problems(error),
            *config_conflicts(_connector_types(tree), dict(_valid_workspaces(tree))),
            *report_conflicts(tree.get("reports"), _mapping_or_empty(tree.get("workspaces"))),
        ]
    return settings, [
        *config_conflicts(_connector_types(tree), settings.workspaces),
        *report_conflicts(tree.get("reports"), settings.workspaces),
    ]


def _connector_types(tree: ConfigTree) -> dict[str, str]:
    connectors = _mapping_or_empty(tree.get("connectors"))
    return {name: str(_mapping_or_empty(each).get("type")) for name, each in connectors.items()}


def _valid_workspaces(tree: ConfigTree) -> Iterator[tuple[str, WorkspaceSettings]]:
    for name, each in _mapping_or_empty(tree.get("workspaces")).items():
        try:
            yield name, WorkspaceSettings.model_validate(each)
        except ValidationError:
            continue


def _mapping_or_empty(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _problem_line(problem: ConfigProblem, written: ConfigTree, origins: Mapping[KeyPath, str]) -> str:
    path = _path_in_file(problem.path, written)
    variable = next((name for place, name in origins.items() if path[: len(place)] == place), None)
    message = f"{'.'.join(_printable(step) for step in path) or 'the file'}: {_printable(problem.message, 1000)}"
    return f"{message} (set by {variable})" if variable else message


def _path_in_file(path: KeyPath, written: ConfigTree) -> KeyPath:
    """Return the path of a workspace's value in the file: under `defaults` if the workspace does not set it."""
    if path[:1] == ("workspaces",) and len(path) > 2:
        inner = path[2:]
        if not has_path(written, path) and has_path(written.get("defaults"), inner):
            return ("defaults", *inner)
    return path


def _printable(step: object, longest: int = MAX_STEP_LENGTH) -> str:
    text = str(step)
    text = text if len(text) <= longest else f"{text[:longest]}…"
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
