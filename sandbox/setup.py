"""A configuration of the agent that fits a running sandbox: three connectors, three workspaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.seeding import WORKSPACES
from sandbox.world import DOMAINS, KEY_ID, World

__all__ = ["Mode", "Setup"]

Mode = Literal["dry-run", "enforce"]
CONNECTORS = {"okta": "okta-main", "entra": "entra-eu", "onelogin": "onelogin-apac"}
STATE = "sqlite:///state.db"
KEY_FILE = "okta.pem"


@dataclass(frozen=True, slots=True)
class Setup:
    """Writes configurations for *world*, whose systems listen at *urls*."""

    world: World
    urls: Mapping[str, str]

    def yaml(self, state_url: str = STATE, mode: Mode = "enforce") -> str:
        """Return a complete configuration with all secrets in it."""
        return self._text(state_url, mode, json.dumps(self.world.key.private))

    def write(self, folder: Path, state_url: str = STATE, mode: Mode = "enforce") -> Path:
        """Write `config.yaml` and the Okta key beside it into *folder*, and return the path of the configuration."""
        folder.mkdir(parents=True, exist_ok=True)
        key = folder / KEY_FILE
        key.touch(mode=0o600)
        key.write_text(self.world.key.private, "utf-8")
        config = folder / "config.yaml"
        config.touch(mode=0o600)
        config.write_text(self._text(state_url, mode, f"{{file: {KEY_FILE}}}"), "utf-8")
        return config

    def _text(self, state_url: str, mode: Mode, private_key: str) -> str:
        world = self.world
        return f"""\
# A configuration for the sandbox of seed {world.seed}. Everything in it is pretend, the secrets too.
log: {{level: warning, format: console}}
state:
  url: {json.dumps(state_url)}
connectors:
  {CONNECTORS["okta"]}:
    type: okta
    org_url: {self.urls["okta"]}
    client_id: {world.okta_client_id}
    private_key: {private_key}
    kid: {KEY_ID}
  {CONNECTORS["entra"]}:
    type: entra
    tenant_id: {world.entra.tenant_id}
    client_id: {world.entra_client_id}
    client_secret: {world.secret("entra")}
    graph_url: {self.urls["entra"]}
    authority_url: {self.urls["entra"]}
  {CONNECTORS["onelogin"]}:
    type: onelogin
    api_url: {self.urls["onelogin"]}
    client_id: "{world.onelogin_client_id}"
    client_secret: {world.secret("onelogin")}
workspaces:
{"".join(self._workspace(directory, mode) for directory in WORKSPACES)}\
{self._pace()}\
"""

    def _workspace(self, directory: str, mode: Mode) -> str:
        name = WORKSPACES[directory]
        return f"""\
  {name}:
    scim_url: {self.urls["pigment"]}/{name}/scim/v2
    tokens: [{", ".join(self.world.tokens(name))}]
    sources:
      - connector: {CONNECTORS[directory]}
        app: "{self.world.company.directory(directory).pigment.id}"
    allowed_domains: [{", ".join(DOMAINS)}]
    mode: {mode}
    schedule: {{every: 1m}}
"""

    def _pace(self) -> str:
        """Return a request budget as wide as the pretend Pigment's, where that is not the real one."""
        limit = self.world.pigment.limiter.limit
        if (limit.requests, limit.seconds) == (500, 300.0):
            return ""
        return f"pigment: {{requests_per_window: {limit.requests or 1_000_000}, window_seconds: {limit.seconds}}}\n"
