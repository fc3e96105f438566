"""Send one notification for each change in a workspace's condition, without ever failing a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import structlog

from agent.engine.request import RunResult
from agent.errors import PigmentSyncError
from agent.notifications.delivery import DeliveryError, deliver
from agent.notifications.notice import Condition, Notice, condition_notice, expiry_notice, expiry_stage, run_condition
from agent.ports.notices import Notices
from connectors.base import ReadError
from connectors.secret import Secret

__all__ = ["Notifier"]

log = structlog.get_logger()


class Notifier:
    """Sends notifications of the conditions in *on* to each Apprise URL.

    *sanitize* redacts secrets and, if configured, emails. *state* has the last condition sent to each URL: a restart
    sends nothing twice, and what could not be sent is sent with the next run. A URL is identified by its position.
    """

    def __init__(
        self,
        urls: Sequence[Secret],
        on: Collection[str],
        state: Notices,
        sanitize: Callable[[str], str],
        ca_bundle: Path | None = None,
    ) -> None:
        self._urls = tuple(urls)
        self._conditions = frozenset(on)
        self._state = state
        self._sanitize = sanitize
        self._ca_bundle = ca_bundle

    async def notify_results(self, results: Sequence[RunResult]) -> None:
        """Notify of workspaces with a new condition; raises nothing."""
        for result in results:
            now = run_condition(result)
            if now is not None:
                selected = now if now in self._conditions else Condition.FINE
                await self._notify_all(result.workspace, partial(self._notify_change, result, selected))

    async def notify_token_expiry(self, workspace: str, expires: date | None, today: date) -> None:
        """Notify 30, 7 and 1 days before the first token of *workspace* expires; raises nothing."""
        reached = expiry_stage(expires, today) if expires else None
        if expires is not None and reached is not None and Condition.CREDENTIALS in self._conditions:
            notice = expiry_notice(workspace, expires, today)
            await self._notify_all(workspace, partial(self._notify_expiry, workspace, f"{expires}/{reached}", notice))

    async def _notify_all(self, workspace: str, notify: Callable[[int], Awaitable[None]]) -> None:
        """Notify each URL, by its position. A failure of one does not stop the others."""
        for index in range(len(self._urls)):
            try:
                await notify(index)
            except DeliveryError as error:
                log.warning("notice.not_sent", workspace=workspace, url=index + 1, error=str(error))
            except (ReadError, PigmentSyncError) as error:
                log.warning(
                    "notice.not_sent", workspace=workspace, url=index + 1, error=f"{error.message} {error.hint}"
                )

    async def _notify_change(self, result: RunResult, now: Condition, index: int) -> None:
        subject = f"run:{result.workspace}:{index}"
        before = Condition(await self._state.load_notice(subject) or Condition.FINE)
        if now is not before:
            await self._send(index, subject, now, condition_notice(result, now, before))

    async def _notify_expiry(self, workspace: str, reached: str, notice: Notice, index: int) -> None:
        subject = f"token:{workspace}:{index}"
        if await self._state.load_notice(subject) != reached:
            await self._send(index, subject, reached, notice)

    async def _send(self, index: int, subject: str, now: str, notice: Notice) -> None:
        sanitized = replace(notice, title=self._sanitize(notice.title), body=self._sanitize(notice.body))
        await deliver(self._urls[index].reveal(), sanitized, self._ca_bundle)
        await self._state.set_notice(subject, now)
        log.info("notice.sent", subject=subject, condition=now)
