"""A configuration of the agent for a running sandbox: three connectors, three workspaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.environment import DOMAINS, KEY_ID, Environment
from sandbox.initial_members import WORKSPACES

__all__ = ["AgentConfig", "Mode"]

Mode = Literal["dry-run", "enforce"]
CONNECTORS = {"okta": "okta-main", "entra": "entra-eu", "onelogin": "onelogin-apac"}
STATE_URL = "sqlite:///state.db"
KEY_FILE = "okta.pem"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Configurations for *environment*, whose systems listen at *urls*."""

    environment: Environment
    urls: Mapping[str, str]

    def yaml(self, state_url: str = STATE_URL, mode: Mode = "enforce") -> str:
        """Return a complete configuration with all secrets in it."""
        return self._config_text(state_url, mode, json.dumps(self.environment.okta_key.private_pem))

    def write(self, folder: Path, state_url: str = STATE_URL, mode: Mode = "enforce") -> Path:
        """Write `config.yaml` and the Okta key into *folder*, and return the path of the configuration."""
        folder.mkdir(parents=True, exist_ok=True)
        key = folder / KEY_FILE
        key.touch(mode=0o600)
        key.write_text(self.environment.okta_key.private_pem, "utf-8")
        config = folder / "config.yaml"
        config.touch(mode=0o600)
        config.write_text(self._config_text(state_url, mode, f"{{file: {KEY_FILE}}}"), "utf-8")
        return config

    def _config_text(self, state_url: str, mode: Mode, private_key: str) -> str:
        environment = self.environment
        return f"""\
# A configuration for the sandbox of seed {environment.seed}. Everything in it is pretend, the secrets too.
log: {{level: warning, format: console}}
state:
  url: {json.dumps(state_url)}
connectors:
  {CONNECTORS["okta"]}:
    type: okta
    org_url: {self.urls["okta"]}
    client_id: {environment.okta_client_id}
    private_key: {private_key}
    kid: {KEY_ID}
  {CONNECTORS["entra"]}:
    type: entra
    tenant_id: {environment.entra.tenant_id}
    client_id: {environment.entra_client_id}
    client_secret: {environment.secret("entra")}
    graph_url: {self.urls["entra"]}
    authority_url: {self.urls["entra"]}
  {CONNECTORS["onelogin"]}:
    type: onelogin
    api_url: {self.urls["onelogin"]}
    client_id: "{environment.onelogin_client_id}"
    client_secret: {environment.secret("onelogin")}
workspaces:
{"".join(self._workspace_text(directory, mode) for directory in WORKSPACES)}\
{self._rate_limit_text()}\
"""

    def _workspace_text(self, directory: str, mode: Mode) -> str:
        name = WORKSPACES[directory]
        return f"""\
  {name}:
    scim_url: {self.urls["pigment"]}/{name}/scim/v2
    tokens: [{", ".join(self.environment.tokens(name))}]
    sources:
      - connector: {CONNECTORS[directory]}
        app: "{self.environment.company.directory(directory).pigment.id}"
    allowed_domains: [{", ".join(DOMAINS)}]
    mode: {mode}
    schedule: {{every: 1m}}
"""

    def _rate_limit_text(self) -> str:
        """Return a request budget as wide as the pretend Pigment's, where that is not the real one."""
        limit = self.environment.pigment.limiter.limit
        if (limit.requests, limit.seconds) == (500, 300.0):
            return ""
        return f"pigment: {{requests_per_window: {limit.requests or 1_000_000}, window_seconds: {limit.seconds}}}\n"
