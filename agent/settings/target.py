"""Fingerprints: they identify a workspace and a connector in the state, whatever their names in the file.

They are made of addresses only, never of a credential: a new token or key is not a new target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import httpx

from agent.model import Policy
from agent.settings.root import ConnectorSettings, Settings
from agent.settings.types import canonical_url
from agent.settings.workspace import WorkspaceSettings

__all__ = ["policies", "tenant_of", "workspace_target"]


def workspace_target(scim_url: str) -> str:
    """Return the fingerprint of a workspace: its `scim_url`, in one canonical spelling."""
    url = httpx.URL(canonical_url(scim_url))
    host = url.raw_host.decode("ascii")
    return (
        canonical_url(str(url.copy_with(host=host.removesuffix("."))))
        if host.endswith(".")
        else canonical_url(str(url))
    )


def tenant_of(settings: ConnectorSettings) -> str:
    """Return the fingerprint of a connector: its type, and the tenant or base URL that it reads."""
    return " ".join(filter(None, (settings.type, settings.tenant, workspace_target(settings.base_url))))


def policies(settings: Settings) -> dict[str, Policy]:
    """Return the policy of each workspace, with its fingerprint, those of its connectors, and its provenance."""
    tenants = {name: tenant_of(each) for name, each in settings.connectors.items()}
    return {
        name: replace(_policy(name, each, tenants), provenance=settings.provenance)
        for name, each in settings.workspaces.items()
    }


def _policy(name: str, workspace: WorkspaceSettings, tenants: Mapping[str, str]) -> Policy:
    used = sorted({source.connector for source in workspace.sources})
    return replace(
        workspace.policy(name),
        target=workspace_target(workspace.scim_url),
        tenants=tuple((connector, tenants[connector]) for connector in used),
    )
