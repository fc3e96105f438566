"""The whole configuration, and what its parts must agree on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
from connectors.entra import EntraSettings
from connectors.onelogin import OneLoginSettings
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.settings.value import Strict
from agent.settings.workspace import WorkspaceSettings
from connectors.okta.settings import OktaSettings

__all__ = ["ConnectorSettings", "Settings"]

ConnectorSettings = Annotated[OktaSettings | EntraSettings | OneLoginSettings, Field(discriminator="type")]


class StateSettings(Strict):
    """Where links and the journal are kept."""

    url: str = Field(
        default="sqlite:///state.db", description="sqlite:///state.db, or postgresql+psycopg://user@host/db."
    )


class FleetSettings(Strict):
    """Limits over all workspaces together."""

    fleet_deactivations_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        default=10, description="More of all workspaces' active linked members are held, where that is over 3."
    )


class PigmentSettings(Strict):
    """The request budget of each Pigment host, shared by all its workspaces."""

    requests_per_window: Annotated[int, Field(ge=1)] = Field(default=480, description="Requests in one window.")
    window_seconds: Annotated[float, Field(gt=0)] = Field(default=300, description="How long the window is.")


class NotifySettings(Strict):
    """Who is told, through Apprise URLs."""

    urls: tuple[str, ...] = Field(default=(), description="Apprise URLs.")
    on: tuple[Literal["failure", "held", "credentials"], ...] = Field(
        default=("failure", "held", "credentials"), description="What is told."
    )


class ServerSettings(Strict):
    """Where `serve` listens."""

    host: str = Field(default="127.0.0.1", description="The address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8080, description="The port to listen on.")
    tokens: tuple[str, ...] = Field(default=(), description="Hashed tokens of those who may use the page and the API.")


class HttpSettings(Strict):
    """Bounds of every request to an identity provider or to Pigment."""

    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = Field(default=30, description="For one answer.")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(default=4, description="Of what may heal by itself.")
    max_wait_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=300, description="For one request with all its retries."
    )


class LogSettings(Strict):
    """The log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is shown.")
    format: Literal["json", "console"] = Field(default="json", description="`json`, or `console` for people.")
    emails: bool = Field(default=False, description="Whether emails are shown.")


class Settings(BaseSettings):
    """The configuration of design section 9. Made by `agent.settings.load.load` only."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix="PIGMENT_SYNC__",
        env_nested_delimiter="__",
        # Environment variables of the agent that are no settings ($PIGMENT_SYNC_CONFIG) are left alone.
        env_ignore_empty=True,
    )

    state: StateSettings = StateSettings()
    connectors: dict[str, ConnectorSettings] = Field(min_length=1)
    workspaces: dict[str, WorkspaceSettings] = Field(min_length=1)
    defaults: dict[str, Any] = Field(default_factory=dict, description="Any workspace key, for all workspaces.")
    limits: FleetSettings = FleetSettings()
    pigment: PigmentSettings = PigmentSettings()
    notify: NotifySettings = NotifySettings()
    server: ServerSettings = ServerSettings()
    ca_bundle: Path | None = Field(default=None, description="PEM file for a private CA; handed to every client.")
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (the signature is the library's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load` hands over alone: it has merged the file, the environment and `defaults` already."""
        return (init_settings,)

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        problems = [*self._unknown_connectors(), *self._shared()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _unknown_connectors(self) -> Iterator[str]:
        for name, workspace in self.workspaces.items():
            for place, source in enumerate(workspace.sources):
                if source.connector not in self.connectors:
                    known = ", ".join(self.connectors)
                    yield (
                        f"workspaces.{name}.sources.{place}.connector: there is no connector {source.connector}; "
                        f"the file has: {known}"
                    )

    def _shared(self) -> Iterator[str]:
        """Yield what two workspaces must not have in common: each would undo what the other did."""
        owners: dict[tuple[str, object], str] = {}
        for name, workspace in self.workspaces.items():
            claims: list[tuple[str, str, object]] = [("scim_url", "URL", _plain(workspace.scim_url))]
            claims += [("tokens", "token", token) for token in set(workspace.tokens)]
            claims += [("sources", "application", (each.connector, each.app)) for each in workspace.sources]
            for key, what, value in claims:
                other = owners.setdefault((what, value), name)
                if other != name:
                    yield f"workspaces.{name}.{key}: the same {what} as workspaces.{other}; give each its own"


def _plain(url: str) -> str:
    """Return what two spellings of one URL have in common."""
    return str(httpx.URL(url)).rstrip("/").lower()
