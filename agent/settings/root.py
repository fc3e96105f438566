"""The whole configuration, as one frozen tree."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from agent.model.approval import ApprovalPolicy
from agent.model.provenance import UNKNOWN_PROVENANCE, Provenance
from agent.settings.report import ReportSettings
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
    """Check a URL that is in the file; one that is kept elsewhere is checked when it is revealed."""
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
    """The database of links, leases and the journal."""

    place: Annotated[Secret, AfterValidator(_validate_state_url)] = Field(
        default=Secret("value", DEFAULT_STATE_URL),
        alias="url",
        description="`sqlite:///state.db` (a file), or `postgresql+psycopg://user@host/db`. The default, where "
        "`$STATE_DIRECTORY` is set (by systemd and the image): `state.db` in that folder.",
    )

    @property
    def url(self) -> str:
        """Return the URL, which may contain a password. Raises `SecretError`."""
        url = self.place.reveal()
        if wrong := _state_url_error(url):
            raise SecretInvalid(f"state.url, in {self.place.location}, {wrong}.", "Write the URL there in that form.")
        return url


class FleetSettings(StrictModel):
    """Guards over all workspaces together."""

    fleet_deactivations_percent: Percent = Field(
        default=10,
        description="Deactivations in 60 minutes, as a percentage of all workspaces' active linked members. "
        "Up to 3 pass, but never all of a workspace; above the limit, all of the command or tick are put on hold.",
    )


class ApprovalSettings(StrictModel):
    """What an approval of changes on hold needs."""

    needed: Annotated[Count, Field(ge=1, le=2)] = Field(
        default=1, description="How many different people must approve the same plan before anything is written."
    )
    reason: Literal["required", "optional"] = Field(
        default="required", description="Whether an approval without a reason is refused."
    )
    confirm_over: Count = Field(
        default=10,
        description="Above this number of deactivations, the page asks to type the number before it approves.",
    )
    valid_for: Duration = Field(
        default=timedelta(hours=24), description="How long an approval waits for the approval of a second person."
    )

    def policy(self) -> ApprovalPolicy:
        return ApprovalPolicy(
            needed=self.needed,
            requires_reason=self.reason == "required",
            confirm_over=self.confirm_over,
            valid_for=self.valid_for,
        )


class PigmentSettings(StrictModel):
    """The request budget of each Pigment host, shared by all its workspaces."""

    requests_per_window: Annotated[Count, Field(ge=1)] = Field(default=480, description="Requests in one window.")
    window_seconds: PositiveNumber = Field(default=300, description="Length of the window in seconds.")
    budget: Literal["shared", "own"] = Field(
        default="shared",
        description="With PostgreSQL, `shared`: one budget for all processes on the state, which leave by one address; "
        "`own`: a budget for each process, for processes that each have an address. With SQLite each has its own.",
    )


class NotifySettings(StrictModel):
    """Notifications."""

    urls: tuple[Secret, ...] = Field(default=(), description="Apprise URLs: mail, chat, webhooks.")
    on: tuple[Literal["failure", "held", "waiting", "credentials"], ...] = Field(
        default=("failure", "held", "waiting", "credentials"),
        description="Events to notify about; `waiting`: new holds that wait for a person.",
    )


class HttpSettings(StrictModel):
    """Bounds of every request to an identity provider or to Pigment."""

    timeout_seconds: Annotated[PositiveNumber, Field(le=600)] = Field(
        default=30, description="Timeout for connecting, and for each wait for data, in seconds."
    )
    retries: Annotated[Count, Field(le=20)] = Field(
        default=4,
        description="Retries of a request that failed temporarily; responses that name a retry time are not counted.",
    )
    max_wait_seconds: Annotated[PositiveNumber, Field(le=3600)] = Field(
        default=300, description="Limit for one request with all its retries, in seconds."
    )


class ApplySettings(StrictModel):
    """How changes are sent."""

    max_plan_age: Duration = Field(
        default=timedelta(minutes=15),
        description="If a plan gets older than this while changes are sent, the workspace is read and planned again. "
        "Of approved changes, only identical ones are then applied.",
    )
    in_flight: Annotated[Count, Field(ge=1, le=8)] = Field(
        default=8,
        description="How many changes of a workspace are sent at once: never two of one member, and deactivations, "
        "email changes, reactivations, names and creates one kind after another. Email changes are sent one by one.",
    )


class LogSettings(StrictModel):
    """The log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Minimum log level.")
    format: Literal["json", "console"] = Field(
        default="json", description="`json` for log collectors, `console` for terminals."
    )
    emails: bool = Field(
        default=False, description="Log emails in full; otherwise as `a***@acme.com`, except at level `debug`."
    )


class TracingSettings(StrictModel):
    """OpenTelemetry traces."""

    enabled: bool = Field(
        default=False,
        description="Send a trace of each run by OTLP over HTTP (extra `otel`). The standard variables of "
        "OpenTelemetry set the rest, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.",
    )


class Settings(StrictModel):
    """The configuration of design section 9. Created by `agent.settings.load.load` only."""

    state: StateSettings = Field(
        default_factory=StateSettings, description="The database of links, leases and the journal."
    )
    connectors: dict[Name, ConnectorSettings] = Field(
        min_length=1, description="The identity providers, by a name of your choice."
    )
    workspaces: dict[Name, WorkspaceSettings] = Field(
        min_length=1, description="The Pigment workspaces, by a name of your choice."
    )
    defaults: dict[str, Any] = Field(default_factory=dict, description="Defaults for the keys of all workspaces.")
    limits: FleetSettings = Field(default=FleetSettings(), description="Guards over all workspaces together.")
    approvals: ApprovalSettings = Field(
        default=ApprovalSettings(), description="What an approval of changes on hold needs."
    )
    pigment: PigmentSettings = Field(default=PigmentSettings(), description="The request budget of a Pigment host.")
    notify: NotifySettings = Field(default=NotifySettings(), description="Notifications.")
    reports: tuple[ReportSettings, ...] = Field(default=(), description="Reports that are delivered on a schedule.")
    server: ServerSettings = Field(default=ServerSettings(), description="Where `serve` listens.")
    ca_bundle: Path | None = Field(
        default=None,
        description="PEM file of the authorities to trust, instead of the built-in ones.",
    )
    http: HttpSettings = Field(default=HttpSettings(), description="Bounds of every request.")
    apply: ApplySettings = Field(default=ApplySettings(), description="How changes are sent.")
    log: LogSettings = Field(default=LogSettings(), description="The log on stderr.")
    tracing: TracingSettings = Field(default=TracingSettings(), description="OpenTelemetry traces.")
    _provenance: Provenance = PrivateAttr(default=UNKNOWN_PROVENANCE)

    @property
    def provenance(self) -> Provenance:
        """The release and the digest of the configuration, for the runs that are made with it."""
        return self._provenance

    def with_one_workspace(self, name: str, state_url: str) -> Settings:
        """Return the settings of one workspace and the connectors of its sources, with another state."""
        workspace = self.workspaces[name]
        used = {source.connector for source in workspace.sources}
        return self.model_copy(
            update={
                "state": StateSettings.model_validate({"url": state_url}),
                "connectors": {key: each for key, each in self.connectors.items() if key in used},
                "workspaces": {name: workspace},
            }
        )

    def set_provenance(self, provenance: Provenance) -> None:
        """Set what `load` knows of the file, once."""
        self._provenance = provenance
