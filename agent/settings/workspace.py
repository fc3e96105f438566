"""What the configuration says of one workspace, and the policy that the planner makes its decisions by."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

from apscheduler.triggers.cron import CronTrigger
from pydantic import Field, model_validator

from agent import model
from agent.model import Kind
from agent.settings.value import Domain, Duration, Glob, Strict, TimeZone, Url
from connectors.base import Source
from connectors.secret import Secret

__all__ = ["WorkspaceSettings"]

SHORTEST = timedelta(seconds=10)
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
ReleasedKind = Literal["adopt", "create", "update-name", "update-email", "reactivate", "deactivate"]


class SourceSettings(Strict):
    """An application in one identity provider, and which of its assignments count."""

    connector: str = Field(description="A name of `connectors`.")
    app: str = Field(
        min_length=1, description="Okta app id, object id of the Entra service principal, or OneLogin app id."
    )
    groups: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Only these of the application's groups or roles (ids or exact names); empty: all."
    )
    nested: bool = Field(default=False, description="Entra only: count transitive members of the groups.")
    guests: bool = Field(default=False, description="Entra only: count guests.")
    email: Literal["login", "mail"] = Field(
        default="login", description="`login` (Okta login, Entra UPN, OneLogin email) or `mail`."
    )

    @model_validator(mode="before")
    @classmethod
    def _spell_app(cls, value: object) -> object:
        # OneLogin's app ids are numbers, which YAML reads as such.
        if isinstance(value, dict) and isinstance(value.get("app"), int) and not isinstance(value.get("app"), bool):
            return {**value, "app": str(value["app"])}
        return value


class ScheduleSettings(Strict):
    """When the daemon runs the workspace: exactly one of *every* and *cron*."""

    every: Duration | None = Field(default=None, description="A duration: 90s, 15m, 1h.")
    cron: str | None = Field(default=None, description="Five fields: minute, hour, day, month, weekday.")
    timezone: TimeZone | None = Field(default=None, description="The time zone of `cron`; UTC when absent.")

    @model_validator(mode="after")
    def _one(self) -> ScheduleSettings:
        if (self.every is None) == (self.cron is None):
            raise ValueError("needs exactly one of every and cron")
        if self.every is not None and self.every < SHORTEST:
            raise ValueError("every must be at least 10s")
        if self.cron is not None:
            try:
                CronTrigger.from_crontab(self.cron, self.timezone or "UTC")
            except ValueError as error:
                raise ValueError(f"cron is not a crontab of five fields ({error})") from None
        elif self.timezone is not None:
            raise ValueError("timezone goes with cron only")
        return self


class LimitSettings(Strict):
    """Guards that count (see the guards in docs/planning.md)."""

    max_deactivations: Count = Field(default=25, description="More in 60 minutes are held.")
    max_deactivations_percent: Percent = Field(
        default=10, description="More of the active linked members in 60 minutes are held, where that is over 3."
    )
    max_creates: Count | None = Field(default=None, description="More in 60 minutes are held; null: no limit.")
    max_email_changes: Count = Field(default=25, description="More in 60 minutes are held.")


class ToggleSettings(Strict):
    """Kinds of changes that may be made at all."""

    create: bool = Field(default=True, description="Creates and reactivations.")
    update: bool = Field(default=True, description="Names and emails.")
    deactivate: bool = Field(default=True, description="Deactivations.")


class WorkspaceSettings(Strict):
    """One Pigment workspace."""

    scim_url: Url = Field(description="Verbatim as Pigment generated it.")
    tokens: tuple[Secret, ...] = Field(min_length=1, description="The API token, and the next one while rotating.")
    token_expires: date | None = Field(
        default=None,
        description="Of the first token; the first day without it. Warned of 30, 7 and 1 days ahead.",
    )
    sources: tuple[SourceSettings, ...] = Field(
        min_length=1, description="Where people are assigned; the first decides."
    )
    allowed_domains: frozenset[Domain] = Field(
        default=frozenset(), description="Bare domains that members may have; absent or empty allows all."
    )
    mode: Literal["dry-run", "enforce"] = Field(default="dry-run", description="`dry-run` writes nothing to Pigment.")
    schedule: ScheduleSettings | None = Field(default=None, description="When `serve` runs it.")
    protect: tuple[Glob, ...] = Field(default=(), description="Addresses or patterns that never get a change.")
    unmanaged: Literal["report", "deactivate"] = Field(
        default="report", description="What becomes of active members that nobody is assigned for."
    )
    individual_assignments: Literal["hold", "include", "ignore"] = Field(
        default="hold", description="What an assignment without a group counts for."
    )
    grace_reads: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="How many complete reads somebody must be missing before the deactivation."
    )
    limits: LimitSettings = LimitSettings()
    require_approval: frozenset[ReleasedKind] = Field(
        default=frozenset(), description="Kinds that wait for an approval."
    )
    toggles: ToggleSettings = ToggleSettings()
    total_results: Literal["check", "ignore"] = Field(
        default="check", description="`ignore` where the server's total is known to be wrong: two listings must agree."
    )

    @model_validator(mode="after")
    def _no_application_twice(self) -> WorkspaceSettings:
        applications = [(source.connector, source.app) for source in self.sources]
        for connector, app in applications:
            if applications.count((connector, app)) > 1:
                raise ValueError(f"sources name the application {app} of {connector} twice; keep one of them")
        return self

    def policy(self, name: str) -> model.Policy:
        """Return what the planner and the guards need to know of the workspace *name*."""
        return model.Policy(
            name,
            tuple(
                Source(each.connector, each.app, each.groups, each.nested, each.guests, each.email)
                for each in self.sources
            ),
            self.allowed_domains,
            model.Mode(self.mode),
            self.protect,
            model.Unmanaged(self.unmanaged),
            model.Individual(self.individual_assignments),
            self.grace_reads,
            model.Limits(**self.limits.model_dump()),
            frozenset(Kind(kind) for kind in self.require_approval),
            model.Toggles(**self.toggles.model_dump()),
        )
