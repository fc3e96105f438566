"""The runs that a workspace's status is about: its last one, its last complete read, and the last that was applied."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agent.model import Mode
from agent.model.run import Run, RunOutline, RunStatus
from agent.ports.journal import Journal

__all__ = ["NewestRuns", "load_newest_runs"]

OUTLINES = 100
"""How many runs of each workspace are looked at before the journal is searched for the rest."""
READ = frozenset({RunStatus.PLANNED, RunStatus.DONE, RunStatus.HELD, RunStatus.FAILED})
APPLIED = frozenset({RunStatus.DONE, RunStatus.HELD})


@dataclass(frozen=True, slots=True)
class NewestRuns:
    """*outlines* are the newest runs for everyone, newest first."""

    outlines: tuple[RunOutline, ...]
    last_run: Run | None
    last_read: Run | None
    last_applied: Run | None


async def load_newest_runs(journal: Journal, modes: Mapping[str, Mode]) -> dict[str, NewestRuns]:
    """Return the newest runs of each workspace of *modes*. Raises `StateError`.

    Hundreds of runs that failed must not hide the last one that did not: its age is what alerts are about.
    """
    outlines = await journal.load_outlines(tuple(modes), OUTLINES)
    last = {name: _find_last(outlines[name], mode) for name, mode in modes.items()}
    read = {name: _find_with_status(each, READ) for name, each in outlines.items()}
    written = {name: [run for run in each if not run.dry_run] for name, each in outlines.items()}
    applied = {name: _find_with_status(each, APPLIED) for name, each in written.items()}
    full = [name for name, each in outlines.items() if len(each) == OUTLINES]
    unread = [name for name in full if read[name] is None]
    # A workspace in mode dry-run never has one, and its whole journal would be searched each time.
    unapplied = [name for name in full if applied[name] is None and modes[name] is Mode.ENFORCE]
    read |= await journal.find_newest_runs(unread, READ, only_applied=False)
    applied |= await journal.find_newest_runs(unapplied, APPLIED, only_applied=True)
    ids = {each for found in (last, read, applied) for each in found.values() if each is not None}
    runs = {run.id: run for run in await journal.load_runs(ids=tuple(ids), limit=len(ids))} if ids else {}
    return {
        name: NewestRuns(
            outlines[name],
            runs.get(last[name] or ""),
            runs.get(read[name] or ""),
            runs.get(applied[name] or ""),
        )
        for name in modes
    }


def _find_last(runs: Sequence[RunOutline], mode: Mode) -> str | None:
    """Return the newest run that has ended. A manual dry run does not clear the holds and failures of the last sync."""
    ended = [run for run in runs if run.status is not RunStatus.RUNNING]
    relevant = ended if mode is Mode.DRY_RUN else [run for run in ended if not run.dry_run] or ended
    return relevant[0].id if relevant else None


def _find_with_status(runs: Sequence[RunOutline], statuses: Collection[RunStatus]) -> str | None:
    return next((run.id for run in runs if run.status in statuses), None)
