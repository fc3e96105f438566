"""Compare the digests that a human approved with the plans that were just made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agent.engine.request import Decision, DescribeDifference, ReviewedPlan, RunRequest
from agent.errors import StalePlan, UsageError
from agent.model import Mode, Plan, Policy
from agent.model.run import Trigger
from agent.ports.journal import Journal
from agent.report.document import combined_digest

__all__ = ["digest_prefix", "match_approvals", "refuse_dry_run"]

DIGEST_PATTERN = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})", re.IGNORECASE)
NOT_APPROVABLE = "Nothing is written in mode dry-run, so nothing can be approved; set mode to enforce first."


SHORT_DIGEST_LENGTH = len("sha256:") + 12
"""As much of a digest as a sentence shows."""


def digest_prefix(text: str) -> str:
    """Return a digest, or the beginning of one, as `sha256:` and its digits. Raises `UsageError` for anything else."""
    match = DIGEST_PATTERN.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            "The approval is not a digest: it is sha256: and 64 hexadecimal digits, or at least the first 8 of them.",
            "Copy it from the plan: pigment-sync plan shows the digest of each workspace.",
        )
    return f"sha256:{match[1].lower()}"


def refuse_dry_run(policies: Iterable[Policy], request: RunRequest) -> None:
    """Raise `UsageError` for an approval where no workspace of *policies* is written to, before anything is read."""
    wanted = list(policies)
    if request.approved_digests and wanted and all(policy.mode is Mode.DRY_RUN for policy in wanted):
        names = ", ".join(policy.workspace for policy in wanted)
        raise UsageError(f"{names}: in mode dry-run. Nothing was approved and nothing was written.", NOT_APPROVABLE)


async def match_approvals(
    fresh: Sequence[Decision], request: RunRequest, journal: Journal, describe_difference: DescribeDifference
) -> dict[str, str]:
    """Map each workspace with an approved plan to the approved digest: its own, or that of the whole document.

    An approval may be the beginning of a digest. Raises `StalePlan` if one of the order's approvals fits neither,
    naming what has changed where that plan is known, and `UsageError` if it fits several, or a workspace that is
    in mode dry-run or paused.
    """
    whole = combined_digest(each.digest for each in fresh)
    known = {each.digest for each in fresh if isinstance(each.planned, Plan)}
    is_complete = all(isinstance(each.planned, Plan) for each in fresh)
    candidates = known | ({whole} if is_complete else set())
    fits = {
        given: sorted(each for each in candidates if each.startswith(given))
        for given in sorted(request.approved_digests)
    }
    _refuse_ambiguous(fits)
    unknown = [given for given, found in fits.items() if not found]
    if unknown:
        raise StalePlan(
            await _describe_stale(unknown, fresh, request, journal, describe_difference),
            "Review the new plan and approve its digest.",
        )
    digests = {found[0] for found in fits.values()}
    if request.trigger is not Trigger.APPLY:
        # A plan file holds all its workspaces, including those in dry-run mode or paused.
        _refuse_unapprovable(each for each in fresh if each.digest in digests)
    named = {each.planned.workspace: each.digest for each in fresh if each.digest in digests}
    return {each.planned.workspace: whole for each in fresh} | named if whole in digests else named


def _refuse_ambiguous(fits: dict[str, list[str]]) -> None:
    for given, found in fits.items():
        if len(found) > 1:
            raise UsageError(
                f"{given} matches several digests: {', '.join(found)}; nothing was written.",
                "Give more digits of the digest.",
            )


def _refuse_unapprovable(approved: Iterable[Decision]) -> None:
    for decision in approved:
        planned = decision.planned
        name = planned.workspace
        if planned.mode is Mode.DRY_RUN:
            raise UsageError(f"{name}: in mode dry-run. Nothing was approved and nothing was written.", NOT_APPROVABLE)
        if isinstance(planned, Plan) and planned.pause is not None:
            raise UsageError(
                f"{name}: paused. Nothing was approved and nothing was written.",
                f"Resume it first: pigment-sync resume {name}",
            )


async def _describe_stale(
    digests: Sequence[str],
    fresh: Sequence[Decision],
    request: RunRequest,
    journal: Journal,
    describe_difference: DescribeDifference,
) -> str:
    lines = []
    for digest in digests:
        lines.append(f"The plan changed after {digest[:SHORT_DIGEST_LENGTH]} was approved. Nothing was written.")
        reviewed = await _find_reviewed_plan(digest, request, journal)
        if reviewed is None:
            continue
        now = next((each for each in fresh if each.planned.workspace == reviewed.workspace), None)
        if now is not None:
            _refuse_unapprovable([now])
            lines.append(f"Changed in {reviewed.workspace}:")
            lines.extend(f"  {line}" for line in describe_difference(reviewed.document, now.planned))
    return "\n".join(lines)


async def _find_reviewed_plan(digest: str, request: RunRequest, journal: Journal) -> ReviewedPlan | None:
    for each in request.reviewed_plans:
        if each.digest.startswith(digest):
            return each
    run = await journal.load_run_by_digest(digest)
    if run is None or run.document is None:
        return None
    return ReviewedPlan(run.workspace, run.digest or "", run.document)
