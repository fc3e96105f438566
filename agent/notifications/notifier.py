"""Tell people once of each change in how a workspace is, and never let that harm a run."""

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
    """Tells each of *urls* (Apprise) of what is in *on*. *clean* takes secrets, and emails if so wished, out of a text.

    What each was told last is kept in *state*: a restart tells nobody again, and what could not be sent is sent with
    the next run. The URLs are told apart by their place in the list.
    """

    def __init__(
        self,
        urls: Sequence[Secret],
        on: Collection[str],
        state: Notices,
        clean: Callable[[str], str],
        ca_bundle: Path | None = None,
    ) -> None:
        self._urls = tuple(urls)
        self._conditions = frozenset(on)
        self._state = state
        self._sanitize = clean
        self._ca_bundle = ca_bundle

    async def notify_results(self, results: Sequence[RunResult]) -> None:
        """Tell of workspaces that are not as they were; raises nothing."""
        for result in results:
            now = run_condition(result)
            if now is not None:
                selected = now if now in self._conditions else Condition.FINE
                await self._notify_all(result.workspace, partial(self._notify_change, result, selected))

    async def notify_token_expiry(self, workspace: str, expires: date | None, today: date) -> None:
        """Tell 30, 7 and 1 days before the first token of *workspace* is void; raises nothing."""
        reached = expiry_stage(expires, today) if expires else None
        if expires is not None and reached is not None and Condition.CREDENTIALS in self._conditions:
            told = expiry_notice(workspace, expires, today)
            await self._notify_all(workspace, partial(self._notify_expiry, workspace, f"{expires}/{reached}", told))

    async def _notify_all(self, workspace: str, tell: Callable[[int], Awaitable[None]]) -> None:
        """Tell each URL by its place; one that is out of reach does not keep the others from being told."""
        for place in range(len(self._urls)):
            try:
                await tell(place)
            except DeliveryError as error:
                log.warning("notice.not_sent", workspace=workspace, url=place + 1, error=str(error))
            except (ReadError, PigmentSyncError) as error:
                log.warning(
                    "notice.not_sent", workspace=workspace, url=place + 1, error=f"{error.message} {error.hint}"
                )

    async def _notify_change(self, result: RunResult, now: Condition, place: int) -> None:
        subject = f"run:{result.workspace}:{place}"
        before = Condition(await self._state.load_notice(subject) or Condition.FINE)
        if now is not before:
            await self._send(place, subject, now, condition_notice(result, now, before))

    async def _notify_expiry(self, workspace: str, reached: str, told: Notice, place: int) -> None:
        subject = f"token:{workspace}:{place}"
        if await self._state.load_notice(subject) != reached:
            await self._send(place, subject, reached, told)

    async def _send(self, place: int, subject: str, now: str, told: Notice) -> None:
        clean = replace(told, title=self._sanitize(told.title), body=self._sanitize(told.body))
        await deliver(self._urls[place].reveal(), clean, self._ca_bundle)
        await self._state.set_notice(subject, now)
        log.info("notice.sent", subject=subject, condition=now)
