"""The whole configuration, as one frozen tree."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.settings.server import ServerSettings
from agent.settings.types import Count, Duration, Name, Percent, PositiveNumber, StrictModel
from agent.settings.workspace import WorkspaceSettings
from connectors.provider import ProviderSettings
from connectors.registry import PROVIDERS
from connectors.secret import Secret, SecretInvalid

__all__ = ["DEFAULT_STATE_URL", "STATE_FILE_NAME", "ConnectorSettings", "Settings"]

STATE_FILE_NAME = "state.db"
DEFAULT_STATE_URL = f"sqlite:///{STATE_FILE_NAME}"
POSTGRESQL_SCHEME = re.compile(r"(?:postgres|postgresql)(?:\+[a-z0-9]+)?://")
STATE_URL_PATTERN = re.compile(r"sqlite:///(?!$|:memory:|file:).+|postgresql\+psycopg://.*")

if TYPE_CHECKING:
    ConnectorSettings = ProviderSettings
else:
    # Built from the registry, so that a new provider needs no line here.
    ConnectorSettings = Annotated[reduce(or_, (each.settings for each in PROVIDERS)), Field(discriminator="type")]


def _validate_state_url(place: Secret) -> Secret:
    """Refuse at once what is written into the file; what is kept elsewhere is seen when it is revealed."""
    if place.inline_value is not None and (wrong := _state_url_error(place.inline_value)):
        raise ValueError(wrong)
    return place


def _state_url_error(url: str) -> str:
    if STATE_URL_PATTERN.fullmatch(url):
        return ""
    other = POSTGRESQL_SCHEME.match(url)
    if other is not None:
        return f"must start with postgresql+psycopg://, not {other[0]}"
    return "must be sqlite:///state.db (a file), or postgresql+psycopg://user@host/db"


class StateSettings(StrictModel):
    """Where links, leases and the journal are kept."""

    place: Annotated[Secret, AfterValidator(_validate_state_url)] = Field(
        default=Secret("value", DEFAULT_STATE_URL),
        alias="url",
        description="`sqlite:///state.db` (a file), or `postgresql+psycopg://user@host/db`. Without it, where "
        "`$STATE_DIRECTORY` is set, as systemd and the image do: `state.db` in that folder.",
    )

    @property
    def url(self) -> str:
        """Return the URL with all that is in it, which may be a password. Raises `SecretError`."""
        url = self.place.reveal()
        if wrong := _state_url_error(url):
            raise SecretInvalid(f"state.url, in {self.place.location}, {wrong}.", "Write the URL there in that form.")
        return url


class FleetSettings(StrictModel):
    """Guards over all workspaces together."""

    fleet_deactivations_percent: Percent = Field(
        default=10,
        description="Deactivations in 60 minutes, as a percentage of all workspaces' active linked members. "
        "Up to 3 pass, but never all of a workspace; above the limit, all of the command or tick are held.",
    )


class PigmentSettings(StrictModel):
    """The request budget of each Pigment host, shared by all its workspaces."""

    requests_per_window: Annotated[Count, Field(ge=1)] = Field(default=480, description="Requests in one window.")
    window_seconds: PositiveNumber = Field(default=300, description="How long the window is, in seconds.")


class NotifySettings(StrictModel):
    """Who is told."""

    urls: tuple[Secret, ...] = Field(default=(), description="Apprise URLs: mail, chat, webhooks.")
    on: tuple[Literal["failure", "held", "credentials"], ...] = Field(
        default=("failure", "held", "credentials"), description="What is told."
    )


class HttpSettings(StrictModel):
    """Bounds of every request to an identity provider or to Pigment."""

    timeout_seconds: Annotated[PositiveNumber, Field(le=600)] = Field(
        default=30, description="How long connecting, and each silence of the server, may last."
    )
    retries: Annotated[Count, Field(le=20)] = Field(
        default=4,
        description="How often a request that failed temporarily is sent again; refusals that name a retry time "
        "are not counted.",
    )
    max_wait_seconds: Annotated[PositiveNumber, Field(le=3600)] = Field(
        default=300, description="How long one request may take with all its retries."
    )


class ApplySettings(StrictModel):
    """How changes are sent."""

    max_plan_age: Duration = Field(
        default=timedelta(minutes=15),
        description="If a plan grows older while changes are being sent, the workspace is read and planned again. "
        "Of the changes that an approval released, only identical ones are made.",
    )


class LogSettings(StrictModel):
    """The log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is shown.")
    format: Literal["json", "console"] = Field(
        default="json", description="`json` is for machines, `console` for people."
    )
    emails: bool = Field(
        default=False, description="Show emails in full, where they are `a***@acme.com` otherwise (but for `debug`)."
    )


class Settings(BaseSettings):
    """The configuration of design section 9. Made by `agent.settings.load.load` only."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix="PIGMENT_SYNC__",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        env_parse_none_str="null",
    )

    state: StateSettings = Field(
        default_factory=StateSettings, description="Where links, leases and the journal are kept."
    )
    connectors: dict[Name, ConnectorSettings] = Field(
        min_length=1, description="The identity providers, each under a name of your choice."
    )
    workspaces: dict[Name, WorkspaceSettings] = Field(
        min_length=1, description="The Pigment workspaces, each under a name of your choice."
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Any key of a workspace, for all workspaces that don't set it."
    )
    limits: FleetSettings = Field(default=FleetSettings(), description="Guards over all workspaces together.")
    pigment: PigmentSettings = Field(default=PigmentSettings(), description="The request budget of a Pigment host.")
    notify: NotifySettings = Field(default=NotifySettings(), description="Who is told.")
    server: ServerSettings = Field(default=ServerSettings(), description="Where `serve` listens.")
    ca_bundle: Path | None = Field(
        default=None,
        description="A PEM file with the authorities to trust, in place of those that come with the agent.",
    )
    http: HttpSettings = Field(default=HttpSettings(), description="Bounds of every request.")
    apply: ApplySettings = Field(default=ApplySettings(), description="How changes are sent.")
    log: LogSettings = Field(default=LogSettings(), description="The log on stderr.")

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
