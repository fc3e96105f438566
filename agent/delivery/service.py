"""Make and deliver reports: at least once, by one process at a time, with every attempt in the state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from agent.delivery.content import ReadComponents, Reading, read_content
from agent.delivery.due import (
    LATE_AFTER,
    MAX_ATTEMPTS,
    MAX_MAKING_ATTEMPTS,
    MAX_REPORTS,
    DueReport,
    due_deliveries,
    due_report,
    newest_relevant,
    next_moment,
    overdue_since,
    retry_delay,
)
from agent.delivery.targets import Parcel, TargetError, deliver_parcel
from agent.engine.lease import HeldLease, acquire_lease
from agent.errors import PigmentSyncError, UsageError, WorkspaceBusy
from agent.logs import redact_secrets
from agent.model.report import Delivery, DeliveryStatus, MadeReport, ReportKind, ReportStatus, ReportWhen, report_id
from agent.notifications.notice import Notice, Severity
from agent.ports.clock import Clock
from agent.ports.reports import report_lease_key
from agent.ports.state import State
from agent.report.delivered import Heading, render_report, summary, title
from agent.report.news import compare, decode_facts, encode_facts, facts_digest
from agent.settings.report import ReportSettings
from agent.settings.report_targets import show_target
from connectors.base import ReadError

__all__ = ["ReportService", "ReportState", "load_report_state"]

log = structlog.get_logger()
MAX_CONCURRENT = 2
"""Reports that are made or delivered at once."""
SEND_WAIT_SECONDS = 20.0
"""How long a report that someone asked for waits for the process that delivers one of the same name."""
MAX_BYTES = 256 * 1024 * 1024
"""All files of a report together. They wait in the state until every target has them."""
Sleep = Callable[[float], Awaitable[None]]
ComponentsFactory = Callable[[], AbstractAsyncContextManager[ReadComponents]]


@dataclass(frozen=True, slots=True)
class ReportState:
    """One configured report and what the state has of it, *reports* newest first.

    *overdue_since* is the moment whose report has not reached all its targets.
    """

    settings: ReportSettings
    targets: tuple[str, ...]
    reports: tuple[MadeReport, ...]
    last_delivered_at: datetime | None
    next_at: datetime | None
    overdue_since: datetime | None

    def is_late(self, now: datetime) -> bool:
        return self.overdue_since is not None and now - self.overdue_since > LATE_AFTER

    @property
    def problem(self) -> str:
        """Why the newest report has not arrived everywhere; empty if it has, or no attempt has failed yet."""
        newest = newest_relevant(self.reports)
        if newest is None:
            return ""
        if newest.status in {ReportStatus.MAKING, ReportStatus.FAILED}:
            return newest.error
        return " ".join(
            f"{each.target}: {each.error}" for each in newest.deliveries if each.is_undelivered and each.error
        )

    @property
    def needs_person(self) -> bool:
        """Whether the newest report is not tried any more, and has not arrived everywhere."""
        newest = newest_relevant(self.reports)
        if newest is None:
            return False
        ended = {DeliveryStatus.REFUSED, DeliveryStatus.GIVEN_UP}
        return newest.status is ReportStatus.FAILED or any(each.status in ended for each in newest.deliveries)


async def load_report_state(state: State, report: ReportSettings, now: datetime, since: datetime) -> ReportState:
    """Return what is known of *report*; *since* is when the state first knew it."""
    reports = await state.load_reports(report.name, MAX_REPORTS)
    last = await state.load_last_delivered(report.name)
    return ReportState(
        report,
        tuple(show_target(place, number) for number, place in enumerate(report.to)),
        tuple(reports),
        None if last is None else last.delivered_at,
        None if report.schedule is None else next_moment(report.schedule, now),
        overdue_since(report.schedule, since, reports, now),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportService:
    """Makes and delivers the reports of a configuration. *open_components* builds what a report reads with.

    *notify* gets the name and the id of a report that is late, with the notice.
    """

    state: State
    clock: Clock
    sleep: Sleep
    holder: str
    open_components: ComponentsFactory
    ca_bundle: Path | None = None
    notify: Callable[[str, str, Notice], Awaitable[None]] | None = None

    async def run_due(self, reports: Sequence[ReportSettings]) -> None:
        """Make and deliver what is due of *reports*. Failures are recorded and logged; the next call goes on."""
        semaphore = asyncio.Semaphore(MAX_CONCURRENT)

        async def run_one(report: ReportSettings) -> None:
            async with semaphore:
                await self._run_one(report)

        await asyncio.gather(*map(run_one, reports))

    async def _run_one(self, report: ReportSettings) -> None:
        try:
            since = await self.state.begin_report_name(report.name, self.clock.now())
            if self._is_due(report, since, await self.state.load_reports(report.name, MAX_REPORTS)):
                async with self._lease(report.name) as held:
                    await self._run_under_lease(report, since, held)
            await self._notify_if_late(report, since)
        except WorkspaceBusy:
            # Another replica does it.
            return
        except (PigmentSyncError, ReadError) as error:
            log.warning("report.failed", report=report.name, code=error.code, error=error.message)

    def _is_due(self, report: ReportSettings, since: datetime, known: Sequence[MadeReport]) -> bool:
        now = self.clock.now()
        return due_report(report.schedule, since, known, now) is not None or bool(due_deliveries(known, now))

    async def _run_under_lease(self, report: ReportSettings, since: datetime, held: HeldLease) -> None:
        # Read again: another replica may have had the lease until now.
        known = await self.state.load_reports(report.name, MAX_REPORTS)
        due = due_report(report.schedule, since, known, self.clock.now())
        if due is not None:
            await self._make(report, due, held)
            known = await self.state.load_reports(report.name, MAX_REPORTS)
        await self._deliver(report, due_deliveries(known, self.clock.now()), held)

    async def send_now(self, report: ReportSettings, by: str) -> MadeReport:
        """Make a report for this moment, deliver it once to each target, and return it with what became of it.

        What fails is tried again by the daemon. Raises `WorkspaceBusy` while another process delivers one.
        """
        await self.state.begin_report_name(report.name, self.clock.now())
        async with self._lease(report.name, SEND_WAIT_SECONDS) as held:
            at = self.clock.now().replace(microsecond=0)
            while await self.state.load_report(report_id(report.name, at)) is not None:
                at += timedelta(seconds=1)
            made = await self._make(report, DueReport(at, ()), held, by)
            await self._deliver(report, due_deliveries([made], self.clock.now()), held)
        return await self.state.load_report(made.id) or made

    def _lease(self, name: str, wait_seconds: float = 0) -> AbstractAsyncContextManager[HeldLease]:
        return acquire_lease(
            self.state, self.clock, self.sleep, (report_lease_key(name), ""), self.holder, wait_seconds
        )

    async def _make(self, report: ReportSettings, due: DueReport, held: HeldLease, by: str = "") -> MadeReport:
        """Make a report, or record why it could not be made. It is recorded before, so that a crash is counted."""
        now, attempts = self.clock.now(), due.attempts + 1
        begun = MadeReport(
            id=report_id(report.name, due.scheduled_at),
            name=report.name,
            scheduled_at=due.scheduled_at,
            by=by,
            attempts=attempts,
            next_attempt_at=now + retry_delay(attempts),
            missed=due.missed,
            error=due.earlier.error if due.earlier else "",
        )
        if attempts > MAX_MAKING_ATTEMPTS:
            failed = replace(begun, status=ReportStatus.FAILED, next_attempt_at=None, attempts=due.attempts)
            await self.state.record_report(held.lease, failed)
            return failed
        await self.state.record_report(held.lease, begun)
        try:
            before = await self.state.load_last_delivered(report.name)
            async with self.open_components() as components:
                reading = await read_content(report, components, before)
            made = self._build(report, begun, reading, before)
        except (PigmentSyncError, ReadError) as error:
            made = replace(begun, error=redact_secrets(f"{error.message} {error.hint}"))
            log.warning("report.not_made", report=report.name, id=begun.id, error=made.error)
        except Exception as error:
            # A bug in one report must stop neither the others nor the schedule.
            made = replace(begun, error=f"unexpected error: {type(error).__name__}")
            log.exception("report.crashed", report=report.name, id=begun.id)
        if made.status is ReportStatus.MAKING and by:
            # No schedule repeats it.
            made = replace(made, status=ReportStatus.FAILED, next_attempt_at=None)
        await self.state.record_report(held.lease, made)
        if made.status is ReportStatus.MADE:
            await self.state.supersede_reports(held.lease, report.name, made.id)
        log.info("report.made", report=report.name, id=made.id, status=made.status, missed=len(made.missed))
        return made

    def _build(
        self, report: ReportSettings, begun: MadeReport, reading: Reading, before: MadeReport | None
    ) -> MadeReport:
        made_at = self.clock.now()
        digest = facts_digest(reading.facts)
        ready = replace(
            begun, made_at=made_at, digest=digest, facts=encode_facts(reading.facts), next_attempt_at=None, error=""
        )
        if report.when is ReportWhen.CHANGED and not begun.by and _is_unchanged(report, reading, digest, before):
            return replace(ready, status=ReportStatus.UNCHANGED, facts=b"")
        heading = Heading(begun.id, report.name, report.what.value, begun.scheduled_at, made_at, begun.by)
        news = compare(
            reading.facts,
            decode_facts(before.facts) if before else None,
            before.scheduled_at if before else None,
            begun.missed,
            reading.holds,
        )
        files = {
            f"{begun.id}.{each.suffix}": render_report(heading, news, reading.content, each) for each in report.formats
        }
        if (size := sum(map(len, files.values()))) > MAX_BYTES:
            raise UsageError(
                f"The files of the report have {size / 1_000_000:,.0f} MB, more than {MAX_BYTES / 1_000_000:,.0f}.",
                "Drop a format, or limit its workspaces.",
            )
        return replace(
            ready,
            status=ReportStatus.MADE,
            title=title(heading, news),
            summary=summary(heading, news),
            files=files,
            deliveries=tuple(
                Delivery(report=begun.id, number=number, target=show_target(place, number))
                for number, place in enumerate(report.to)
            ),
        )

    async def _deliver(self, report: ReportSettings, due: Sequence[Delivery], held: HeldLease) -> None:
        """Attempt each of *due* once, side by side: a target that hangs does not delay the others."""
        for key in dict.fromkeys(each.report for each in due):
            made = await self.state.load_report(key)
            if made is not None:
                parcel = Parcel(made.title, redact_secrets(made.summary), made.files)
                mine = [each for each in due if each.report == key]
                await asyncio.gather(*(self._attempt(report, each, parcel, held) for each in mine))

    async def _attempt(self, report: ReportSettings, delivery: Delivery, parcel: Parcel, held: HeldLease) -> None:
        """Deliver to one target, and record how it went. The attempt is recorded first, so that a crash is counted."""
        place = report.to[delivery.number] if delivery.number < len(report.to) else None
        if place is None or show_target(place, delivery.number) != delivery.target:
            error = "The configuration does not name this target any more."
            await self._record(held, replace(delivery, status=DeliveryStatus.SUPERSEDED, error=error))
            return
        attempts = delivery.attempts + 1
        begun = replace(delivery, attempts=attempts, next_attempt_at=self.clock.now() + retry_delay(attempts))
        await held.ensure_lease()
        await self._record(held, begun)
        try:
            await deliver_parcel(place.reveal(), parcel, self.ca_bundle)
        except TargetError as error:
            await self._record_failure(held, begun, error.message, is_final=error.is_final)
        except ReadError as error:
            await self._record_failure(held, begun, f"{error.message} {error.hint}", is_final=False)
        else:
            at = self.clock.now()
            delivered = replace(begun, status=DeliveryStatus.DELIVERED, delivered_at=at, next_attempt_at=None, error="")
            await self._record(held, delivered)
            log.info("report.delivered", report=report.name, id=delivery.report, target=delivery.target)

    async def _record_failure(self, held: HeldLease, delivery: Delivery, error: str, *, is_final: bool) -> None:
        shown = redact_secrets(error)
        status = DeliveryStatus.PENDING
        if is_final or delivery.attempts >= MAX_ATTEMPTS:
            status = DeliveryStatus.REFUSED if is_final else DeliveryStatus.GIVEN_UP
        next_at = delivery.next_attempt_at if status is DeliveryStatus.PENDING else None
        await self._record(held, replace(delivery, status=status, error=shown, next_attempt_at=next_at))
        log.warning(
            "report.not_delivered",
            id=delivery.report,
            target=delivery.target,
            attempt=delivery.attempts,
            status=status,
            error=shown,
        )

    async def _record(self, held: HeldLease, delivery: Delivery) -> None:
        await self.state.record_delivery(held.lease, delivery)

    async def _notify_if_late(self, report: ReportSettings, since: datetime) -> None:
        """Send one notice for a report that is late, or that is not tried any more."""
        now = self.clock.now()
        known = await load_report_state(self.state, report, now, since)
        if self.notify is None or not (known.is_late(now) or known.needs_person):
            return
        last = newest_relevant(known.reports)
        newest = report.name if last is None else last.id
        why = known.problem or "Nothing was recorded about it: the daemon may hang, or its state is out of reach."
        body = (
            f"Report: {newest}\n\n{why}\n\nSee all of its deliveries, and send it again once the cause is fixed:\n"
            f"  pigment-sync report list\n  pigment-sync report send {report.name}"
        )
        notice = Notice(f"pigment-sync: the report {report.name} was not delivered", body, Severity.FAILURE)
        await self.notify(report.name, newest, notice)


def _is_unchanged(report: ReportSettings, reading: Reading, digest: str, before: MadeReport | None) -> bool:
    """Return whether the report shows nothing that the last delivered one did not."""
    if report.what is ReportKind.ACTIVITY:
        return not reading.facts.entries
    return before is not None and before.digest == digest
