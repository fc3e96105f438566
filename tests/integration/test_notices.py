"""Notices, over a real mail server and a real webhook: one per change, and a lost one fails no run."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from email import message_from_bytes
from email.policy import default
from functools import partial
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from agent.engine.request import RunResult
from agent.errors import ExitCode, StateError
from agent.logs import sanitize
from agent.model import Guard, Hold, Kind, Mode, Plan, Unplanned
from agent.model.run import ChangeRecord, Outcome, RunStatus
from agent.notifications.notifier import Notifier
from agent.ports.state import State
from agent.store.state import SqlState
from connectors.base import PersonKey
from connectors.secret import Secret
from tests.golden.samples import a_guarded_leaver, a_plan
from tests.memory_state import MemoryState
from tests.notice_receivers import Mailbox, Webhook, mail_server, webhook
from tests.state_samples import NOW, Clock, a_change, a_run, done

ALL = ("failure", "held", "credentials")
WAITING = (*ALL, "waiting")
PLANNED = a_plan(
    "latam",
    guards=(
        Guard(
            code="max-deactivations",
            count=30,
            recent=0,
            limit="25",
            message="30 deactivations are more than 25.",
            affected=("ann.lee@acme.com",),
        ),
    ),
)
REFUSED = Unplanned(
    workspace="latam",
    mode=Mode.ENFORCE,
    status="credentials",
    code="credentials",
    message="Okta refused the token. Authorization: Bearer 00abcdefSECRET",
    remedy="Make a new one.",
)


def ended(status: RunStatus, found: Plan | Unplanned = PLANNED, *records: ChangeRecord, error: str = "") -> RunResult:
    return RunResult(
        "latam", "20260301-120000-3f9a1c", status, ExitCode.DONE, found, "sha256:abc", records, error=error
    )


DONE, HELD, FAILED = ended(RunStatus.DONE), ended(RunStatus.HELD), ended(RunStatus.FAILED)


@pytest.fixture(name="webhook")
def _webhook() -> Iterator[Webhook]:
    with webhook() as receiver:
        yield receiver


@pytest.fixture(name="mailbox")
def _mailbox() -> Iterator[Mailbox]:
    with mail_server() as receiver:
        yield receiver


@pytest.fixture
def state() -> MemoryState:
    return MemoryState(Clock().now)


def notices(state: State, *urls: Secret, on: tuple[str, ...] = ALL, emails: bool = False) -> Notifier:
    return Notifier(urls, on, state, partial(sanitize, emails=emails))


async def test_mail_has_workspace_event_reason_and_next_step(state: MemoryState, mailbox: Mailbox) -> None:
    await notices(state, mailbox.url).notify_results([HELD])
    (mail,) = mailbox.mails
    assert isinstance(mail.content, bytes)
    message = message_from_bytes(mail.content, policy=default)
    part = message.get_body(("plain",))
    assert part is not None
    text = part.get_content()

    assert mail.rcpt_tos == ["ops@acme.com"]
    assert message["Subject"] == "pigment-sync: changes of latam are on hold"
    assert "Workspace: latam" in text
    assert "20260301-120000-3f9a1c" in text
    assert "30 deactivations are more than 25." in text
    assert "pigment-sync sync -w latam --approve sha256:abc" in text


async def test_private_authority_is_trusted_where_the_configuration_names_it(
    state: MemoryState, tmp_path: Path
) -> None:
    authority, bundle = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with webhook(tls) as receiver:
        await notices(state, receiver.url).notify_results([FAILED])
        assert receiver.received == []
        await Notifier([receiver.url], ALL, state, str, bundle).notify_results([FAILED])
        assert len(receiver.received) == 1


async def test_outcome_of_each_notice_is_counted(state: MemoryState, webhook: Webhook) -> None:
    counted: list[tuple[str, str]] = []
    gone = Secret("json://127.0.0.1:9", "notify.urls[1]")
    notifier = Notifier([webhook.url, gone], ALL, state, str, on_notice=lambda *each: counted.append(each))
    await notifier.notify_results([DONE, FAILED])

    assert counted == [("latam", "sent"), ("latam", "not-sent")]


async def test_one_notice_for_each_change_of_a_workspace(state: MemoryState, webhook: Webhook) -> None:
    notifier = notices(state, webhook.url)
    for result in (DONE, HELD, HELD, FAILED, FAILED, ended(RunStatus.INCOMPLETE), DONE, DONE, HELD):
        await notifier.notify_results([result])

    assert webhook.titles == [
        "changes of latam are on hold",
        "a run of latam failed",
        "latam recovered",
        "changes of latam are on hold",
    ]
    assert [each["type"] for each in webhook.received] == ["warning", "failure", "success", "warning"]


async def test_restart_sends_nothing_again(webhook: Webhook, tmp_path: Path) -> None:
    for _ in range(2):
        state = await SqlState.open(f"sqlite:///{tmp_path / 'state.db'}", Clock().now)
        notifier = notices(state, webhook.url)
        await notifier.notify_results([HELD])
        await notifier.notify_token_expiry("latam", date(2026, 3, 31), date(2026, 3, 1))
        await state.close()

    assert webhook.titles == ["changes of latam are on hold", "the Pigment token of latam expires in 30 days"]


async def test_lost_notice_is_sent_with_the_next_run_to_those_who_missed_it(
    state: MemoryState, webhook: Webhook, mailbox: Mailbox
) -> None:
    notifier = notices(state, webhook.url, mailbox.url)
    webhook.status = 500
    with capture_logs() as lines:
        await notifier.notify_results([FAILED])
    missed = list(webhook.received)
    webhook.status = 200
    await notifier.notify_results([FAILED])

    assert missed == []
    assert webhook.titles == ["a run of latam failed"]
    assert len(mailbox.mails) == 1
    (warning,) = [line for line in lines if line["log_level"] == "warning"]
    assert (warning["event"], warning["workspace"], warning["url"]) == ("notice.not_sent", "latam", 1)


@pytest.mark.parametrize(
    "url",
    [
        Secret("value", "json://127.0.0.1:1/token-of-the-hook"),
        Secret("value", "nothing://that.apprise.knows/token-of-the-hook"),
        Secret("env", "NOTIFY_URL_THAT_IS_NOT_SET"),
        Secret("value", ""),
    ],
    ids=["connection-refused", "unknown-scheme", "missing-secret", "empty"],
)
async def test_notice_that_cannot_be_sent_breaks_nothing(state: MemoryState, webhook: Webhook, url: Secret) -> None:
    with capture_logs() as lines:
        await notices(state, url, webhook.url).notify_results([FAILED])

    assert webhook.titles == ["a run of latam failed"]
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["notice.not_sent"]
    assert "token-of-the-hook" not in str(lines)


async def test_notice_holds_no_secret_and_emails_only_if_asked_for(state: MemoryState, webhook: Webhook) -> None:
    await notices(state, webhook.url).notify_results([ended(RunStatus.CREDENTIALS, REFUSED)])
    await notices(state, webhook.url).notify_results([HELD])
    await notices(MemoryState(Clock().now), webhook.url, emails=True).notify_results([HELD])
    refused, hidden, shown = (each["message"] for each in webhook.received)

    assert "Okta refused the token." in refused
    assert "pigment-sync check -w latam" in refused
    assert "00abcdefSECRET" not in refused
    assert "a***@acme.com" in hidden
    assert "ann.lee" not in hidden
    assert "ann.lee@acme.com" in shown


async def test_failure_has_the_number_of_failed_changes_and_the_reason(state: MemoryState, webhook: Webhook) -> None:
    failed = replace(done(a_change(), 1, Outcome.FAILED), detail="Pigment answered 400.")
    await notices(state, webhook.url).notify_results([ended(RunStatus.FAILED, PLANNED, done(a_change()), failed)])

    assert "1 of 2 changes were not made. Pigment answered 400." in webhook.received[0]["message"]
    assert "pigment-sync report 20260301-120000-3f9a1c" in webhook.received[0]["message"]


async def test_failure_after_planning_has_the_reason(state: MemoryState, webhook: Webhook) -> None:
    await notices(state, webhook.url).notify_results(
        [ended(RunStatus.INTERRUPTED, error="This run lost its lease. Run again.")]
    )

    assert "This run lost its lease. Run again." in webhook.received[0]["message"]


async def test_only_selected_conditions_are_sent(state: MemoryState, webhook: Webhook) -> None:
    notifier = notices(state, webhook.url, on=("failure",))
    for result in (HELD, ended(RunStatus.CREDENTIALS, REFUSED), FAILED, HELD):
        await notifier.notify_results([result])
    await notifier.notify_token_expiry("latam", date(2026, 3, 31), date(2026, 3, 30))

    assert webhook.titles == ["a run of latam failed", "latam recovered"]


@pytest.mark.parametrize("status", [RunStatus.BUSY, RunStatus.PLANNED, RunStatus.STALE])
async def test_run_that_proves_nothing_changes_nothing(state: MemoryState, webhook: Webhook, status: RunStatus) -> None:
    notifier = notices(state, webhook.url)
    for result in (HELD, ended(status), HELD):
        await notifier.notify_results([result])

    assert webhook.titles == ["changes of latam are on hold"]


async def test_plan_is_all_there_is_in_mode_dry_run(state: MemoryState, webhook: Webhook) -> None:
    notifier = notices(state, webhook.url)
    await notifier.notify_results([ended(RunStatus.INCOMPLETE)])
    await notifier.notify_results([ended(RunStatus.PLANNED, replace(PLANNED, mode=Mode.DRY_RUN))])

    assert webhook.titles == ["a run of latam failed", "latam recovered"]


async def test_token_expiry_is_announced_30_7_and_1_days_ahead(state: MemoryState, webhook: Webhook) -> None:
    notifier = notices(state, webhook.url)
    expires = date(2026, 5, 31)
    for ordinal in range(expires.toordinal() - 40, expires.toordinal() + 3):
        await notifier.notify_token_expiry("latam", expires, date.fromordinal(ordinal))
    await notifier.notify_token_expiry("latam", date(2027, 5, 31), expires)
    await notifier.notify_token_expiry("latam", None, expires)

    assert webhook.titles == [
        "the Pigment token of latam expires in 30 days",
        "the Pigment token of latam expires in 7 days",
        "the Pigment token of latam expires tomorrow",
    ]
    assert "pigment-sync check -w latam" in webhook.received[0]["message"]


async def test_token_that_expired_unnoticed_is_reported(state: MemoryState, webhook: Webhook) -> None:
    await notices(state, webhook.url).notify_token_expiry("latam", date(2026, 3, 1), date(2026, 3, 2))

    assert webhook.titles == ["the Pigment token of latam has expired"]


def a_hold(
    number: int, code: str = "possible-rename", email: str = "", remedy: str = "", days: float | None = None
) -> Hold:
    return Hold(
        kind=Kind.CREATE,
        code=code,
        email=email or f"p{number}@acme.com",
        reason="",
        remedy=remedy or f"If they are one person: pigment-sync links assign p{number}.",
        person=PersonKey("okta-main", f"00u{number}"),
        since=None if days is None else NOW - timedelta(days=days),
    )


def with_holds(*holds: Hold, status: RunStatus = RunStatus.DONE) -> RunResult:
    return replace(ended(status, replace(PLANNED, holds=holds)), holds=holds, run=a_run())


async def test_new_hold_is_sent_once_with_its_age_and_what_clears_it(state: MemoryState, webhook: Webhook) -> None:
    notifier = notices(state, webhook.url, on=WAITING, emails=True)
    first, second = a_hold(1, days=2), a_hold(2, days=0)
    for result in (with_holds(first), with_holds(first), with_holds(first, second), with_holds(first, second), DONE):
        await notifier.notify_results([result])

    assert webhook.titles == ["1 change of latam waits for a person"] * 2
    one, two = (each["message"] for each in webhook.received)
    assert "On hold: 1 change. New: 1." in one
    assert "possible-rename:\n- create p1@acme.com, on hold since 2026-02-27 (2 days)\n" in one
    assert "pigment-sync links assign p1." in one
    assert "pigment-sync plan -w latam" in one
    assert "On hold: 2 changes. New: 1." in two
    assert "- create p2@acme.com, on hold since this run\n" in two
    assert "p1@acme.com" not in two
    assert "--approve" not in one
    assert [each["type"] for each in webhook.received] == ["warning", "warning"]


async def test_hold_that_ends_and_comes_back_is_new(state: MemoryState, webhook: Webhook) -> None:
    notifier = notices(state, webhook.url, on=WAITING)
    for result in (with_holds(a_hold(1)), with_holds(), with_holds(a_hold(1))):
        await notifier.notify_results([result])

    assert webhook.titles == ["1 change of latam waits for a person"] * 2


async def test_other_words_and_another_address_are_the_same_hold_and_another_code_is_not(
    state: MemoryState, webhook: Webhook
) -> None:
    notifier = notices(state, webhook.url, on=WAITING)
    for hold in (a_hold(1), a_hold(1, email="new@acme.com", remedy="Other words."), a_hold(1, code="email-taken")):
        await notifier.notify_results([with_holds(hold)])

    assert len(webhook.received) == 2
    assert "email-taken:" in webhook.received[1]["message"]


async def test_run_that_shows_nothing_of_the_holds_neither_ends_nor_renews_them(
    state: MemoryState, webhook: Webhook
) -> None:
    notifier = notices(state, webhook.url, on=WAITING)
    paused = ended(RunStatus.PLANNED, replace(PLANNED, holds=(a_hold(2),)))
    for result in (with_holds(a_hold(1)), paused, ended(RunStatus.BUSY), with_holds(a_hold(1))):
        await notifier.notify_results([result])

    assert webhook.titles == ["1 change of latam waits for a person"]


async def test_many_new_holds_are_one_notice_of_bounded_length_and_toggles_none(
    state: MemoryState, webhook: Webhook
) -> None:
    notifier = notices(state, webhook.url, on=WAITING)
    toggled = [a_hold(number, code="toggle-off") for number in range(100)]
    await notifier.notify_results([with_holds(*toggled)])
    many = [a_hold(number, code="domain-not-allowed", remedy="Add the domain.") for number in range(2000)]
    await notifier.notify_results([with_holds(*many, a_hold(1), *toggled)])

    assert webhook.titles == ["2,001 changes of latam wait for a person"]
    text = webhook.received[0]["message"]
    assert "- and 1,990 more\nAdd the domain.\n" in text
    assert len(text) < 2000
    await notifier.notify_results([with_holds(*many, a_hold(1))])
    assert len(webhook.received) == 1


async def test_guard_that_trips_is_one_notice_with_its_new_holds_and_what_held_did_stays(
    state: MemoryState, webhook: Webhook
) -> None:
    held = with_holds(a_guarded_leaver(1), a_hold(1), status=RunStatus.HELD)
    await notices(MemoryState(Clock().now), webhook.url).notify_results([held])
    notifier = notices(state, webhook.url, on=WAITING)
    for result in (held, held, with_holds(a_guarded_leaver(1), a_hold(1), a_hold(2), status=RunStatus.HELD)):
        await notifier.notify_results([result])
    await notifier.notify_results([with_holds(a_hold(1), a_hold(2))])
    before, both, later, recovered = (each["message"] for each in webhook.received)

    assert webhook.titles == [
        "changes of latam are on hold",
        "changes of latam are on hold",
        "1 change of latam waits for a person",
        "latam recovered",
    ]
    assert both.startswith(before)
    assert "New on hold: 2 changes." in both.removeprefix(before)
    assert "max-deactivations:\n- deactivate" in both.removeprefix(before)
    assert "possible-rename:\n- create" in both.removeprefix(before)
    assert "--approve sha256:abc" in both
    assert "--approve" not in later
    assert "New on hold" not in recovered


async def test_new_guard_hold_in_a_workspace_on_hold_has_the_command_that_approves_it(
    state: MemoryState, webhook: Webhook
) -> None:
    notifier = notices(state, webhook.url, on=("waiting",))
    await notifier.notify_results([with_holds(a_guarded_leaver(1), status=RunStatus.HELD)])

    assert webhook.titles == ["1 change of latam waits for a person"]
    assert 'pigment-sync sync -w latam --approve sha256:abc --reason "…"' in webhook.received[0]["message"]


async def test_plan_of_which_a_part_was_made_is_not_offered_for_approval_by_its_digest(
    state: MemoryState, webhook: Webhook
) -> None:
    result = replace(with_holds(a_guarded_leaver(1), status=RunStatus.HELD), records=(done(a_change()),))
    await notices(state, webhook.url, on=("waiting",)).notify_results([result])

    assert "sha256:" not in webhook.received[0]["message"]
    assert "by the digest that it prints:\n  pigment-sync plan -w latam" in webhook.received[0]["message"]


async def test_digest_of_the_next_plan_is_found_once_for_each_notice_that_needs_it(
    state: MemoryState, webhook: Webhook
) -> None:
    partly = replace(with_holds(a_guarded_leaver(1), status=RunStatus.HELD), records=(done(a_change()),))
    asked: list[str] = []

    async def find(result: RunResult) -> str:
        asked.append(result.workspace)
        return "sha256:next"

    notifier = notices(state, webhook.url, webhook.url, on=WAITING)
    for result in (DONE, partly, partly):
        await notifier.notify_results([result], find)

    assert asked == ["latam"]
    assert len(webhook.received) == 2
    for each in webhook.received:
        assert "--approve sha256:next " in each["message"]
        assert "sha256:abc" not in each["message"]


async def test_notice_is_sent_without_a_digest_where_the_next_plan_is_not_known(
    state: MemoryState, webhook: Webhook
) -> None:
    async def find(_result: RunResult) -> str:
        raise StateError("The state can't be reached.", "Start it.")

    partly = replace(with_holds(a_guarded_leaver(1), status=RunStatus.HELD), records=(done(a_change()),))
    await notices(state, webhook.url).notify_results([partly], find)

    (sent,) = webhook.received
    assert "by the digest that it prints:\n  pigment-sync plan -w latam" in sent["message"]


async def test_new_holds_that_could_not_be_sent_are_sent_with_the_next_run(
    state: MemoryState, webhook: Webhook, mailbox: Mailbox
) -> None:
    notifier = notices(state, webhook.url, mailbox.url, on=WAITING)
    webhook.status = 500
    await notifier.notify_results([with_holds(a_hold(1))])
    webhook.status = 200
    await notifier.notify_results([with_holds(a_hold(1), a_hold(2))])

    assert webhook.titles == ["2 changes of latam wait for a person"]
    assert len(mailbox.mails) == 2


async def test_restart_and_a_new_name_send_no_hold_again(webhook: Webhook, tmp_path: Path) -> None:
    for name in ("latam", "latam", "brasil"):
        state = await SqlState.open(f"sqlite:///{tmp_path / 'state.db'}", Clock().now)
        if name == "brasil":
            old, new = await state.take_lease("latam", "one"), await state.take_lease("brasil", "one")
            await state.rename_workspace(old, new, a_run("renamed", "brasil"))
        result = replace(with_holds(a_hold(1), a_hold(2)), workspace=name)
        await notices(state, webhook.url, on=WAITING).notify_results([result])
        await state.close()

    assert webhook.titles == ["2 changes of latam wait for a person"]


async def test_notice_of_a_hold_hides_emails_as_the_log_does(state: MemoryState, webhook: Webhook) -> None:
    hold = a_hold(1, email="ann.lee@acme.com", remedy="pigment-sync links new ann.lee@acme.com")
    await notices(state, webhook.url, on=WAITING).notify_results([with_holds(hold)])

    assert "ann.lee" not in webhook.received[0]["message"]
    assert "a***@acme.com" in webhook.received[0]["message"]
