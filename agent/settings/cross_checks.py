"""Checks over several parts of the configuration, once each part is valid by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

from agent.errors import ConfigError
from agent.settings.merge import KeyPath
from agent.settings.types import canonical_url
from agent.settings.workspace import WorkspaceSettings
from connectors.registry import PROVIDERS
from connectors.secret import Secret, SecretError

__all__ = ["ConfigProblem", "config_conflicts", "refuse_shared_tokens", "report_conflicts"]
TYPES_WITH_GUESTS = {each.type_key for each in PROVIDERS if each.has_guests_and_nesting}
NAMES_WITH_GUESTS = " and ".join(each.name for each in PROVIDERS if each.has_guests_and_nesting)


class ConfigProblem(NamedTuple):
    """A problem at *path* in the file; *message* describes it and how to fix it."""

    path: KeyPath
    message: str


def config_conflicts(kinds: Mapping[str, str], workspaces: Mapping[str, WorkspaceSettings]) -> Iterator[ConfigProblem]:
    """Yield the conflicts between parts. *kinds* are the types of the connectors by name."""
    if kinds:
        # Without any connector, that is the problem to report.
        for name, workspace in workspaces.items():
            yield from _source_conflicts(name, workspace, kinds)
    yield from _shared_value_conflicts(workspaces)


def _source_conflicts(name: str, workspace: WorkspaceSettings, kinds: Mapping[str, str]) -> Iterator[ConfigProblem]:
    seen = set()
    for index, source in enumerate(workspace.sources):
        path: KeyPath = ("workspaces", name, "sources", index)
        if source.connector not in kinds:
            message = f"there is no connector {source.connector}; the file has {', '.join(kinds)}"
            yield ConfigProblem((*path, "connector"), message)
        elif kinds[source.connector] not in TYPES_WITH_GUESTS:
            for key in ("nested", "guests"):
                if getattr(source, key):
                    yield ConfigProblem(
                        (*path, key),
                        f"is for {NAMES_WITH_GUESTS} only, and {source.connector} is of another type; remove it",
                    )
        if (source.connector, source.app) in seen:
            message = (
                f"the application {source.app} of {source.connector} appears twice in this workspace; keep one source"
            )
            yield ConfigProblem(path, message)
        seen.add((source.connector, source.app))


def _shared_value_conflicts(workspaces: Mapping[str, WorkspaceSettings]) -> Iterator[ConfigProblem]:
    """Yield values that two workspaces share but must not: each would undo the changes of the other."""
    owners: dict[tuple[str, object], str] = {}
    for name, workspace in workspaces.items():
        for path, what, value in _exclusive_values(workspace):
            other = owners.setdefault((what, value), name)
            if other != name:
                message = f"is the same {what} as in workspaces.{other}; give each workspace its own"
                yield ConfigProblem(("workspaces", name, *path), message)


def _exclusive_values(workspace: WorkspaceSettings) -> Iterator[tuple[KeyPath, str, object]]:
    yield ("scim_url",), "URL", canonical_url(workspace.scim_url)
    for index, token in enumerate(workspace.tokens):
        yield ("tokens", index), "token", token
    for index, source in enumerate(workspace.sources):
        yield ("sources", index, "app"), "application", (source.connector, source.app)


def report_conflicts(reports: object, workspaces: Collection[str]) -> Iterator[ConfigProblem]:
    """Yield the conflicts of *reports*, as the file has them: a name twice, a workspace that is not in the file."""
    seen: set[object] = set()
    for index, report in enumerate(reports if isinstance(reports, list) else []):
        if not isinstance(report, dict):
            continue
        name, names = report.get("name"), report.get("workspaces")
        if isinstance(name, str) and name.lower() in seen:
            # Its files and its record in the state are found by its name, and some file systems ignore case.
            yield ConfigProblem(("reports", index, "name"), f"another report is called {name}; give each its own name")
        seen.add(name.lower() if isinstance(name, str) else name)
        for place, workspace in enumerate(names if isinstance(names, list) else []):
            if isinstance(workspace, str) and workspace not in workspaces:
                message = f"there is no workspace {workspace}; the file has {', '.join(workspaces)}"
                yield ConfigProblem(("reports", index, "workspaces", place), message)


def refuse_shared_tokens(workspaces: Mapping[str, WorkspaceSettings]) -> None:
    """Raise `ConfigError` when two workspaces use the same token, kept in two places.

    This reveals the tokens, so a run calls it, not `load`. A token that can't be revealed is reported elsewhere.
    """
    revealed = {name: {_reveal_or_none(token) for token in each.tokens} - {None} for name, each in workspaces.items()}
    for one, other in combinations(revealed, 2):
        if revealed[one] & revealed[other]:
            raise ConfigError(
                f"workspaces.{other}.tokens: holds the same token as workspaces.{one}.tokens.",
                "Each workspace has its own API token: generate one in its Pigment settings.",
            )


def _reveal_or_none(token: Secret) -> str | None:
    try:
        return token.reveal()
    except SecretError:
        return None
