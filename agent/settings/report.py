"""Settings of one scheduled report."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from agent.model.report import ReportFormat, ReportKind, ReportWhen
from agent.settings.report_targets import target_problem
from agent.settings.types import Name, NonEmptyText, StrictModel
from agent.settings.workspace import ScheduleSettings
from connectors.secret import Secret

__all__ = ["ReportSettings"]


def _validate_target(place: Secret) -> Secret:
    """Check a URL that is in the file; one that is kept elsewhere is checked when it is revealed."""
    if place.inline_value is not None and (wrong := target_problem(place.inline_value)):
        raise ValueError(wrong)
    return place


class ReportSettings(StrictModel):
    """A report that `serve` delivers on a schedule, and `report send` at any time."""

    name: Name = Field(description="The report's name; its files are called `NAME-20261126T070000Z.html`.")
    what: ReportKind = Field(
        description="`plan`: a dry run of that moment; `access`: who has access; `activity`: what runs did since the "
        "last delivered one."
    )
    workspaces: tuple[NonEmptyText, ...] = Field(default=(), description="Only these workspaces. Empty for all.")
    schedule: ScheduleSettings | None = Field(
        default=None,
        description="When it is due, as for workspaces; `every` counts from 1970-01-01 00:00 UTC. "
        "Without it, only `report send` sends it.",
    )
    formats: tuple[ReportFormat, ...] = Field(
        default=(ReportFormat.HTML,),
        min_length=1,
        description="A file for each of these formats. `xlsx`, a sheet for an access review, needs `what: access`.",
    )
    to: tuple[Annotated[Secret, AfterValidator(_validate_target)], ...] = Field(
        min_length=1,
        description="Apprise URLs (mail and chat, with the files attached), `file:///FOLDER`, `s3://BUCKET/FOLDER` and "
        "other URLs of object stores and fsspec.",
    )
    when: ReportWhen = Field(
        default=ReportWhen.ALWAYS,
        description="`changed`: not delivered while it shows the same as the last delivered one.",
    )

    @field_validator("formats")
    @classmethod
    def _refuse_repeated(cls, value: tuple[ReportFormat, ...], info: ValidationInfo) -> tuple[ReportFormat, ...]:
        # Without a valid *what*, that is the error.
        if ReportFormat.XLSX in value and info.data.get("what", ReportKind.ACCESS) is not ReportKind.ACCESS:
            raise ValueError("has xlsx, which is the sheet of an access review. Remove it, or set what: access.")
        return tuple(dict.fromkeys(value))
