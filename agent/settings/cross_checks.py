"""What the parts of the configuration must agree on, once each is valid by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

from agent.errors import ConfigError
from agent.settings.merge import KeyPath
from agent.settings.types import canonical_url
from agent.settings.workspace import WorkspaceSettings
from connectors.registry import PROVIDERS
from connectors.secret import Secret, SecretError

__all__ = ["ConfigProblem", "config_conflicts", "refuse_shared_tokens"]
TYPES_WITH_GUESTS = {each.type_key for each in PROVIDERS if each.has_guests_and_nesting}
NAMES_WITH_GUESTS = " and ".join(each.name for each in PROVIDERS if each.has_guests_and_nesting)


class ConfigProblem(NamedTuple):
    """Something wrong at *path* in the file; *message* say what, and how to mend it."""

    path: KeyPath
    message: str


def config_conflicts(kinds: Mapping[str, str], workspaces: Mapping[str, WorkspaceSettings]) -> Iterator[ConfigProblem]:
    """Yield what does not fit together. *kinds* are the types of the connectors by name."""
    if kinds:
        # Without a single connector, that is what is wrong.
        for name, workspace in workspaces.items():
            yield from _source_conflicts(name, workspace, kinds)
    yield from _shared_value_conflicts(workspaces)


def _source_conflicts(name: str, workspace: WorkspaceSettings, kinds: Mapping[str, str]) -> Iterator[ConfigProblem]:
    seen = set()
    for place, source in enumerate(workspace.sources):
        path: KeyPath = ("workspaces", name, "sources", place)
        if source.connector not in kinds:
            words = f"there is no connector {source.connector}; the file has {', '.join(kinds)}"
            yield ConfigProblem((*path, "connector"), words)
        elif kinds[source.connector] not in TYPES_WITH_GUESTS:
            for key in ("nested", "guests"):
                if getattr(source, key):
                    yield ConfigProblem(
                        (*path, key), f"is for {NAMES_WITH_GUESTS} only, and {source.connector} is none; take it out"
                    )
        if (source.connector, source.app) in seen:
            words = (
                f"the application {source.app} of {source.connector} stands twice in this workspace; keep one source"
            )
            yield ConfigProblem(path, words)
        seen.add((source.connector, source.app))


def _shared_value_conflicts(workspaces: Mapping[str, WorkspaceSettings]) -> Iterator[ConfigProblem]:
    """Yield what two workspaces must not have in common: each would undo what the other did."""
    owners: dict[tuple[str, object], str] = {}
    for name, workspace in workspaces.items():
        for path, what, value in _exclusive_values(workspace):
            other = owners.setdefault((what, value), name)
            if other != name:
                words = f"is the same {what} as that of workspaces.{other}; give each workspace its own"
                yield ConfigProblem(("workspaces", name, *path), words)


def _exclusive_values(workspace: WorkspaceSettings) -> Iterator[tuple[KeyPath, str, object]]:
    yield ("scim_url",), "URL", canonical_url(workspace.scim_url)
    for place, token in enumerate(workspace.tokens):
        yield ("tokens", place), "token", token
    for place, source in enumerate(workspace.sources):
        yield ("sources", place, "app"), "application", (source.connector, source.app)


def refuse_shared_tokens(workspaces: Mapping[str, WorkspaceSettings]) -> None:
    """Raise `ConfigError` when two workspaces have one token, kept in two places.

    This reveals them, so it is for a run, not for loading. One that can't be revealed is none of this one's business.
    """
    revealed = {name: {_reveal_or_none(token) for token in each.tokens} - {None} for name, each in workspaces.items()}
    for one, other in combinations(revealed, 2):
        if revealed[one] & revealed[other]:
            raise ConfigError(
                f"workspaces.{other}.tokens: holds the same token as workspaces.{one}.tokens.",
                "Each workspace has an API token of its own: generate one in its Pigment settings.",
            )


def _reveal_or_none(token: Secret) -> str | None:
    try:
        return token.reveal()
    except SecretError:
        return None
