"""Send one notification for each change in a workspace's condition and for new holds, without ever failing a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import structlog

from agent.engine.next_digest import FindDigest, unchanged_digest
from agent.engine.request import RunResult
from agent.errors import PigmentSyncError
from agent.model import Hold
from agent.notifications.delivery import DeliveryError, deliver
from agent.notifications.notice import Condition, Notice, condition_notice, expiry_notice, expiry_stage, run_condition
from agent.notifications.waiting import encode_holds, new_holds, waiting_holds, waiting_notice, with_new_holds
from agent.ports.notices import Notices, OnNotice, ignore_notice
from connectors.base import ReadError
from connectors.secret import Secret

__all__ = ["Notifier"]

log = structlog.get_logger()
WAITING = "waiting"
"""The event of a new hold. It is not a condition: a workspace that is fine may have holds of the planning table."""

SENT, NOT_SENT = "sent", "not-sent"


class Notifier:
    """Sends notifications of the events in *on* to each Apprise URL: conditions of a workspace, and new holds.

    *sanitize* redacts secrets and, if configured, emails. *state* has what was sent last to each URL: a restart
    sends nothing twice, and what could not be sent is sent with the next run. A URL is identified by its position.
    *on_notice* gets the workspace and the outcome of each notice.
    """

    def __init__(
        self,
        urls: Sequence[Secret],
        on: Collection[str],
        state: Notices,
        sanitize: Callable[[str], str],
        ca_bundle: Path | None = None,
        on_notice: OnNotice = ignore_notice,
    ) -> None:
        self._urls = tuple(urls)
        self._events = frozenset(on)
        self._state = state
        self._sanitize = sanitize
        self._ca_bundle = ca_bundle
        self._on_notice = on_notice

    async def notify_results(self, results: Sequence[RunResult], find_digest: FindDigest = unchanged_digest) -> None:
        """Notify of workspaces with a new condition or new holds; raises nothing.

        *find_digest* finds the digest that approves what a run left on hold. It may read, so a run that needs no notice
        does not ask for it.
        """
        for result in results:
            known: list[str] = []
            digest = partial(self._digest, result, find_digest, known)
            await self._notify_all(result.workspace, partial(self._notify_result, result, digest))

    async def _digest(self, result: RunResult, find_digest: FindDigest, known: list[str]) -> str:
        """Return the digest for the notices of *result*, found once: *known* keeps it for the other URLs."""
        if not known:
            try:
                known.append(await find_digest(result))
            except (ReadError, PigmentSyncError) as error:
                log.warning("notice.digest_unknown", workspace=result.workspace, error=error.message)
                known.append("")
        return known[0]

    async def notify_token_expiry(self, workspace: str, expires: date | None, today: date) -> None:
        """Notify 30, 7 and 1 days before the first token of *workspace* expires; raises nothing."""
        reached = expiry_stage(expires, today) if expires else None
        if expires is not None and reached is not None and Condition.CREDENTIALS in self._events:
            notice = expiry_notice(workspace, expires, today)
            await self._notify_all(workspace, partial(self._notify_expiry, workspace, f"{expires}/{reached}", notice))

    async def notify_report(self, name: str, report: str, notice: Notice) -> None:
        """Notify once that the report with the id *report* was not delivered; raises nothing."""
        if Condition.FAILURE in self._events:
            await self._notify_all(f"report {name}", partial(self._notify_report, name, report, notice))

    async def _notify_report(self, name: str, report: str, notice: Notice, index: int) -> None:
        # A report's name has no colon.
        subject = f"report:{name}:{index}"
        if await self._state.load_notice(subject) != report:
            await self._send(f"report {name}", index, Condition.FAILURE, notice, {subject: report})

    async def _notify_all(self, workspace: str, notify: Callable[[int], Awaitable[None]]) -> None:
        """Notify each URL, by its position. A failure of one does not stop the others."""
        for index in range(len(self._urls)):
            try:
                await notify(index)
            except DeliveryError as error:
                self._on_notice(workspace, NOT_SENT)
                log.warning("notice.not_sent", workspace=workspace, url=index + 1, error=str(error))
            except (ReadError, PigmentSyncError) as error:
                self._on_notice(workspace, NOT_SENT)
                log.warning(
                    "notice.not_sent", workspace=workspace, url=index + 1, error=f"{error.message} {error.hint}"
                )

    async def _notify_result(self, result: RunResult, digest: Callable[[], Awaitable[str]], index: int) -> None:
        """Notify one URL of a run: of the condition if it changed, and of new holds. Both at once if it is on hold."""
        now = run_condition(result)
        holds = waiting_holds(result) if WAITING in self._events else None
        if now is not None:
            selected = now if now in self._events else Condition.FINE
            subject = f"run:{result.workspace}:{index}"
            before = Condition(await self._state.load_notice(subject) or Condition.FINE)
            if selected is not before:
                to_approve = await digest() if selected is Condition.HELD else ""
                notice, sent = condition_notice(result, selected, before, to_approve), {subject: str(selected)}
                if selected is Condition.HELD and holds is not None:
                    new, known = await self._compare_holds(result, holds, index)
                    notice, sent = with_new_holds(notice, result, new) if new else notice, {**sent, **known}
                await self._send(result.workspace, index, selected, notice, sent)
        if holds is not None:
            new, known = await self._compare_holds(result, holds, index)
            if new:
                notice = waiting_notice(result, new, len(holds), await digest())
                await self._send(result.workspace, index, WAITING, notice, known)
            else:
                await self._record(known)

    async def _compare_holds(
        self, result: RunResult, holds: Sequence[Hold], index: int
    ) -> tuple[tuple[Hold, ...], dict[str, str]]:
        """Return which of *holds* are new for this URL, and what to record once it knows them."""
        subject = f"{WAITING}:{result.workspace}:{index}"
        before, now = await self._state.load_notice(subject), encode_holds(holds)
        return new_holds(holds, before), {} if now == (before or "") else {subject: now}

    async def _notify_expiry(self, workspace: str, reached: str, notice: Notice, index: int) -> None:
        subject = f"token:{workspace}:{index}"
        if await self._state.load_notice(subject) != reached:
            await self._send(workspace, index, reached, notice, {subject: reached})

    async def _send(self, workspace: str, index: int, event: str, notice: Notice, known: Mapping[str, str]) -> None:
        """Deliver *notice*, and record by subject what the URL knows from now on."""
        sanitized = replace(notice, title=self._sanitize(notice.title), body=self._sanitize(notice.body))
        await deliver(self._urls[index].reveal(), sanitized, self._ca_bundle)
        self._on_notice(workspace, SENT)
        await self._record(known)
        log.info("notice.sent", subject=next(iter(known)), condition=event)

    async def _record(self, known: Mapping[str, str]) -> None:
        for subject, value in known.items():
            await self._state.set_notice(subject, value)
