"""What the configuration says of one workspace, and the policy that the planner makes its decisions by."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from agent import model
from agent.model import Kind
from agent.settings.crontab import normalize_crontab
from agent.settings.types import (
    AppId,
    Count,
    Day,
    Domain,
    Duration,
    Glob,
    GuardCount,
    GuardPercent,
    NonEmptyText,
    StrictModel,
    TimeZone,
    Url,
)
from connectors.base import Source
from connectors.secret import Secret

__all__ = ["LimitSettings", "ScheduleSettings", "SourceSettings", "ToggleSettings", "WorkspaceSettings"]


class SourceSettings(StrictModel):
    """An application in one identity provider, and which of its assignments count."""

    connector: NonEmptyText = Field(description="The name of one of the `connectors`.")
    app: AppId = Field(
        description="The application's id: Okta app id, object id of the Entra service principal, OneLogin app id."
    )
    groups: tuple[NonEmptyText, ...] = Field(
        default=(), description="Only these of the application's groups or roles, by id or exact name. Empty: all."
    )
    nested: bool = Field(default=False, description="Entra only: count the members of groups within the groups.")
    guests: bool = Field(default=False, description="Entra only: count guests.")
    email: Literal["login", "mail"] = Field(
        default="login",
        description="Which address is a person's email: `login` (Okta login, Entra UPN, OneLogin email) or `mail`.",
    )


class ScheduleSettings(StrictModel):
    """When `serve` runs the workspace: exactly one of `every` and `cron`."""

    every: Duration | None = Field(default=None, description="A duration from 10s to 31d: `90s`, `15m`, `1h`.")
    cron: str | None = Field(
        default=None,
        description="Five fields: minute, hour, day, month, weekday (0 and 7 are Sunday, names are clearer).",
    )
    timezone: TimeZone | None = Field(
        default=None, description="The time zone of `cron`, as `Europe/Berlin`; UTC when absent."
    )

    @field_validator("cron")
    @classmethod
    def _normalize_cron(cls, value: str | None) -> str | None:
        return value if value is None else normalize_crontab(value)

    @model_validator(mode="after")
    def _require_exactly_one(self) -> ScheduleSettings:
        if (self.every is None) == (self.cron is None):
            raise ValueError('needs exactly one of every and cron, as {every: 15m} or {cron: "0 6 * * mon-fri"}')
        if self.cron is None and self.timezone is not None:
            raise ValueError("has a timezone, which goes with cron only; take it out")
        return self


class LimitSettings(StrictModel):
    """The guards that count, over 60 minutes. What exceeds one is held until somebody approves the plan."""

    max_deactivations: GuardCount = Field(default=25, description="So many deactivations; more, and all are held.")
    max_deactivations_percent: GuardPercent = Field(
        default=10,
        description="The same as a percentage of the workspace's active linked members. Up to 3 pass, but never all.",
    )
    max_creates: Count | None = Field(
        default=None, description="So many creates; more, and all are held. `null`: no limit."
    )
    max_email_changes: GuardCount = Field(default=25, description="So many email changes; more, and all are held.")

    def limits(self) -> model.Limits:
        return model.Limits(
            max_deactivations=self.max_deactivations,
            max_deactivations_percent=self.max_deactivations_percent,
            max_creates=self.max_creates,
            max_email_changes=self.max_email_changes,
        )


class ToggleSettings(StrictModel):
    """Which kinds of changes may be made at all; the others are held until the toggle is back on."""

    create: bool = Field(default=True, description="Creates and reactivations.")
    update: bool = Field(default=True, description="Changes of names and emails.")
    deactivate: bool = Field(default=True, description="Deactivations.")


class WorkspaceSettings(StrictModel):
    """One Pigment workspace."""

    scim_url: Url = Field(description="The SCIM URL, exactly as Pigment generated it for this workspace.")
    tokens: tuple[Secret, ...] = Field(
        min_length=1, description="Its API token, and while rotating also the next one: they are tried in this order."
    )
    token_expires: Day | None = Field(
        default=None,
        description="The day from which the first token is void. You are warned 30, 7 and 1 days ahead.",
    )
    sources: tuple[SourceSettings, ...] = Field(
        min_length=1, description="Where people are assigned. Where two sources disagree, the first decides."
    )
    allowed_domains: frozenset[Domain] = Field(
        default=frozenset(),
        description="The domains that a member's email may have; subdomains are not implied. Empty: all.",
    )
    mode: model.Mode = Field(
        default=model.Mode.DRY_RUN, description="`dry-run` plans and reports, and writes nothing to Pigment."
    )
    schedule: ScheduleSettings | None = Field(
        default=None, description="When `serve` runs the workspace. Without it, only `sync` and `apply` do."
    )
    protect: tuple[Glob, ...] = Field(
        default=(), description="Addresses, or patterns of addresses, of members that never get a change."
    )
    unmanaged: model.UnmanagedAction = Field(
        default=model.UnmanagedAction.REPORT, description="What becomes of active members that nobody is assigned for."
    )
    individual_assignments: model.IndividualAction = Field(
        default=model.IndividualAction.HOLD,
        description="What an assignment without a group counts for: nothing is decided, as much as a group, nothing.",
    )
    grace_reads: Annotated[Count, Field(ge=1, le=1000)] = Field(
        default=1, description="How many complete reads in a row somebody must be missing from to be deactivated."
    )
    limits: LimitSettings = Field(default=LimitSettings(), description="The guards that count.")
    require_approval: frozenset[Kind] = Field(
        default=frozenset(), description="Kinds of changes that always wait for an approval."
    )
    toggles: ToggleSettings = Field(default=ToggleSettings(), description="Which kinds of changes may be made at all.")
    total_results: Literal["check", "ignore"] = Field(
        default="check",
        description="`ignore` where the server's `totalResults` is known to be wrong: then two listings must agree.",
    )

    def policy(self, name: str) -> model.Policy:
        """Return what the planner and the guards need to know of the workspace *name*."""
        toggles = self.toggles
        ignores = self.individual_assignments is model.IndividualAction.IGNORE
        return model.Policy(
            workspace=name,
            sources=tuple(
                Source(each.connector, each.app, each.groups, each.nested, each.guests, each.email, ignores)
                for each in self.sources
            ),
            allowed_domains=self.allowed_domains,
            mode=self.mode,
            protect=self.protect,
            unmanaged=self.unmanaged,
            individual_assignments=self.individual_assignments,
            grace_reads=self.grace_reads,
            limits=self.limits.limits(),
            require_approval=self.require_approval,
            toggles=model.Toggles(create=toggles.create, update=toggles.update, deactivate=toggles.deactivate),
        )
