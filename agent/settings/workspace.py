"""Settings of one workspace, and the policy that the planner makes of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from agent import model
from agent.guard.count_table import COUNT_GUARDS
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
    PageSize,
    StrictModel,
    TimeZone,
    Url,
)
from connectors.base import Source
from connectors.secret import Secret

__all__ = ["LimitSettings", "ScheduleSettings", "SourceSettings", "ToggleSettings", "WorkspaceSettings"]


class SourceSettings(StrictModel):
    """An application in one identity provider, and the assignments of it that count."""

    connector: NonEmptyText = Field(description="The name of one of the `connectors`.")
    app: AppId = Field(
        description="The application's id: Okta app id, object id of the Entra service principal, OneLogin app id."
    )
    groups: tuple[NonEmptyText, ...] = Field(
        default=(), description="Only these groups or roles of the application, by id or exact name. Empty for all."
    )
    nested: bool = Field(default=False, description="Entra only: include the members of nested groups.")
    guests: bool = Field(default=False, description="Entra only: include guests.")
    email: Literal["login", "mail"] = Field(
        default="login",
        description="The address that is a person's email: `login` (Okta login, Entra UPN, OneLogin email) or `mail`.",
    )


class ScheduleSettings(StrictModel):
    """When `serve` runs the workspace: exactly one of `every` and `cron`."""

    every: Duration | None = Field(default=None, description="A duration from 10s to 31d: `90s`, `15m`, `1h`.")
    cron: str | None = Field(
        default=None,
        description="Five fields: minute, hour, day, month, weekday (0 and 7 are Sunday, names are clearer).",
    )
    timezone: TimeZone | None = Field(
        default=None, description="The time zone of `cron`, such as `Europe/Berlin`; UTC by default."
    )

    @field_validator("cron")
    @classmethod
    def _normalize_cron(cls, value: str | None) -> str | None:
        return value if value is None else normalize_crontab(value)

    @model_validator(mode="after")
    def _require_exactly_one(self) -> ScheduleSettings:
        if (self.every is None) == (self.cron is None):
            raise ValueError('needs exactly one of every and cron, such as {every: 15m} or {cron: "0 6 * * mon-fri"}')
        if self.cron is None and self.timezone is not None:
            raise ValueError("has a timezone, which is for cron only; remove it")
        return self


def _with_limit_fields(base: type[LimitSettings]) -> type[LimitSettings]:
    """Return *base* with a field for each limit of `COUNT_GUARDS`, in their order."""
    fields: dict[str, Any] = {}
    for guard in COUNT_GUARDS:
        limit, percent = guard.limit, guard.percent
        number = GuardCount if limit.default is not None else Count | None
        fields[limit.key] = (number, Field(default=limit.default, description=limit.description))
        if percent is not None:
            fields[percent.key] = (GuardPercent, Field(default=percent.default, description=percent.description))
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, __module__=base.__module__, **fields)


@_with_limit_fields
class LimitSettings(StrictModel):
    """The guards that count changes, over 60 minutes. Changes above a limit are on hold until the plan is approved."""

    def limits(self) -> model.Limits:
        values = dict(self)
        return model.Limits(
            counts={guard.code: values[guard.limit.key] for guard in COUNT_GUARDS},
            percents={guard.code: values[guard.percent.key] for guard in COUNT_GUARDS if guard.percent is not None},
        )


class ToggleSettings(StrictModel):
    """The kinds of changes that are allowed; others are on hold until their toggle is on again."""

    create: bool = Field(default=True, description="Creates and reactivations.")
    update: bool = Field(default=True, description="Changes of names and emails.")
    deactivate: bool = Field(default=True, description="Deactivations.")


class WorkspaceSettings(StrictModel):
    """One Pigment workspace."""

    scim_url: Url = Field(description="The SCIM URL, exactly as Pigment generated it for this workspace.")
    tokens: tuple[Secret, ...] = Field(
        min_length=1,
        description="Its API token, and during a rotation also the next one; they are tried in this order.",
    )
    token_expires: Day | None = Field(
        default=None,
        description="The day on which the first token expires. You are warned 30, 7 and 1 days before.",
    )
    sources: tuple[SourceSettings, ...] = Field(
        min_length=1,
        description="The applications to which people are assigned. If two sources disagree, the first decides.",
    )
    allowed_domains: frozenset[Domain] = Field(
        default=frozenset(),
        description="The domains allowed in a member's email; subdomains are not implied. Empty for all.",
    )
    mode: model.Mode = Field(
        default=model.Mode.DRY_RUN, description="`dry-run` plans and reports, and writes nothing to Pigment."
    )
    schedule: ScheduleSettings | None = Field(
        default=None, description="When `serve` runs the workspace. Without it, only `sync` and `apply` run it."
    )
    protect: tuple[Glob, ...] = Field(
        default=(), description="Addresses, or patterns of addresses, of members that are never changed."
    )
    unmanaged: model.UnmanagedAction = Field(
        default=model.UnmanagedAction.REPORT, description="What happens to active members without an assigned person."
    )
    individual_assignments: model.IndividualAction = Field(
        default=model.IndividualAction.HOLD,
        description="How an assignment without a group counts: its changes are on hold, like a group, not at all.",
    )
    grace_reads: Annotated[Count, Field(ge=1, le=1000)] = Field(
        default=1, description="Number of complete reads in a row without the person before the member is deactivated."
    )
    limits: LimitSettings = Field(default=LimitSettings(), description="The guards that count changes.")
    require_approval: frozenset[Kind] = Field(
        default=frozenset(), description="Kinds of changes that always need approval."
    )
    toggles: ToggleSettings = Field(default=ToggleSettings(), description="The kinds of changes that are allowed.")
    total_results: Literal["check", "ignore"] = Field(
        default="check",
        description="`ignore` if the server's `totalResults` is known to be wrong; then two listings must agree.",
    )
    page_size: PageSize = Field(
        default="auto",
        description="Members to ask for at a time. `auto` asks for 1,000, and for 100 where the server refuses that.",
    )

    def policy(self, name: str) -> model.Policy:
        """Return the policy of the workspace *name* for the planner and the guards."""
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
