"""The lines of `check` that every provider has. Each is tried by itself: one that fails stops no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import httpx

from connectors.base import Area, CheckName, Finding, LookupResult, ReadError, Source, Status
from connectors.directory import AppGroup, GroupNaming, select_groups
from connectors.http import NoResponse, RequestLimits, RequestNotSent, escape_control, server_time
from connectors.http.send import send_request

# Most connectors have no feed, and start faster without its classes.
if TYPE_CHECKING:
    from connectors.feed import Feed

__all__ = [
    "CHECK_SECONDS",
    "LookupFunction",
    "check_clock",
    "check_feed",
    "check_groups",
    "check_lookup",
    "check_scopes",
    "check_sources",
    "check_suspended_person",
    "choose_groups",
    "clock_skew",
    "error_finding",
    "next_link_finding",
    "page_size_finding",
    "size_label",
    "time_limit_finding",
]

LookupFunction = Callable[[str, Source], Awaitable[LookupResult]]
CONSEQUENCE = (
    "Runs go on without it, but can't give the reasons of leavers, nor notice a list that leaves out people who are "
    "still assigned."
)
NO_FEED = "Runs go on without the feed, but leavers wait for the next scheduled run."
CHECK_SECONDS = 180.0
"""How long the check of one connector or workspace may take."""
CLOCK_SECONDS = 10.0
MAX_SKEW_SECONDS, MAX_SIGNED_SKEW_SECONDS = 60, 300
"""From the second one on, Okta and Entra refuse what this machine signs."""
CLOCK_HINT = "Set this machine's clock right: let it follow a time server (chrony, systemd-timesyncd)."
MAX_GROUPS = 100
"""How many groups one source is checked for: each costs a request."""


async def check_sources(  # noqa: PLR0913  (three are optional)
    subject: str,
    probe: Callable[[], Awaitable[None]],
    reached: str,
    sources: Sequence[Source],
    check_source: Callable[[str, Source], Awaitable[list[Finding]]],
    *,
    first: Callable[[], Awaitable[list[Finding]]] | None = None,
    then: Callable[[], Awaitable[list[Finding]]] | None = None,
    seconds: float = CHECK_SECONDS,
) -> list[Finding]:
    """Return the finding of *probe*, and those of each source unless the provider itself can't be read.

    *reached* is the message for a probe that passes. *first* is tried in any case, *then* after the probe has passed.
    A `ReadError` becomes a finding, and so does a check that takes longer than *seconds*.
    """
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(seconds):
            if first is not None:
                findings += await first()
            try:
                await probe()
            except ReadError as error:
                return [*findings, error_finding(subject, error, CheckName.CREDENTIALS)]
            findings.append(Finding("ok", subject, reached, name=CheckName.CREDENTIALS))
            if then is not None:
                findings += await then()
            for source in sources:
                try:
                    found = await check_source(f"{subject}, app {source.app}", source)
                except ReadError as error:
                    found = [error_finding(f"{subject}, app {source.app}", error, CheckName.APPLICATION)]
                findings += [replace(finding, source=source) for finding in found]
    except TimeoutError:
        findings.append(time_limit_finding(subject, Area.CONNECTOR, seconds))
    return findings


def time_limit_finding(subject: str, area: Area, seconds: float = CHECK_SECONDS) -> Finding:
    return Finding(
        "error",
        subject,
        f"the check did not end within {seconds:g} s: what would follow was not tried.",
        "Look at the network and at rate limits, and check again.",
        name=CheckName.TIME_LIMIT,
        area=area,
    )


def error_finding(subject: str, error: ReadError, name: CheckName) -> Finding:
    return Finding("error", subject, error.message, error.hint, name=name)


async def check_clock(  # noqa: PLR0913  (the client, its limits and the clock come from the wiring)
    subject: str,
    url: str,
    client: httpx.AsyncClient,
    limits: RequestLimits,
    *,
    wall: Callable[[], float] = time.time,
    area: Area = Area.CONNECTOR,
    signs: bool = False,
) -> list[Finding]:
    """Compare this machine's clock with that of the server at *url*, by one request without credentials.

    *signs*: requests hold times that this machine signed. Returns nothing when there is no answer: others report that.
    """
    request = client.build_request("HEAD", url, headers={"Accept-Encoding": "identity"})
    seconds = min(CLOCK_SECONDS, limits.timeout_seconds)
    sent_at = wall()
    try:
        response, _ = await send_request(
            client, request, replace(limits, timeout_seconds=seconds, max_wait_seconds=seconds)
        )
    except (RequestNotSent, NoResponse):
        return []
    shown = None if "age" in response.headers else server_time(response.headers)
    skew = None if shown is None else clock_skew(shown, sent_at, wall())
    return [clock_finding(subject, skew, area=area, signs=signs)]


def clock_skew(shown: float, sent_at: float, received_at: float) -> float:
    """Return by how many seconds a server's clock is ahead, 0 if *shown* may lie between the two moments.

    What a server shows is cut to whole seconds.
    """
    if shown + 1 < sent_at:
        return shown + 1 - sent_at
    return max(0.0, shown - received_at)


def clock_finding(subject: str, skew: float | None, *, area: Area, signs: bool) -> Finding:
    if skew is None:
        message = "its answer shows no time of its own, so that the clocks can't be compared"
        return Finding("ok", subject, message, name=CheckName.CLOCK_SKEW, area=area)
    if abs(skew) <= MAX_SKEW_SECONDS:
        message = f"this machine's clock and the server's differ by {abs(skew):.0f} s"
        return Finding("ok", subject, message, name=CheckName.CLOCK_SKEW, area=area)
    is_refused = signs and abs(skew) > MAX_SIGNED_SKEW_SECONDS
    message = f"this machine's clock is {abs(skew):,.0f} s {'behind' if skew > 0 else 'ahead of'} the server's"
    level: Literal["warning", "error"] = "error" if is_refused else "warning"
    message += ": what it signs is refused." if is_refused else "."
    return Finding(level, subject, message, CLOCK_HINT, name=CheckName.CLOCK_SKEW, area=area)


def check_scopes(
    subject: str, granted: frozenset[str] | None, needed: Sequence[str], unknown: str, remedy: str
) -> list[Finding]:
    """Compare what the token grants with *needed*. *unknown* is the message where the token does not show it."""
    if granted is None:
        return [Finding("ok", subject, unknown, name=CheckName.GRANTED_SCOPES)]
    shown = escape_control(" ".join(sorted(granted))) or "nothing"
    missing = [scope for scope in needed if scope not in granted]
    if missing:
        message = f"the token grants {shown}; it lacks {' '.join(missing)}."
        return [Finding("warning", subject, message, remedy, name=CheckName.GRANTED_SCOPES)]
    return [Finding("ok", subject, f"the token grants {shown}", name=CheckName.GRANTED_SCOPES)]


async def check_groups(
    subject: str,
    groups: Sequence[AppGroup],
    count: Callable[[AppGroup], Awaitable[str]],
    noun: str = "group",
) -> list[Finding]:
    """Return a line with the size of each group, by *count*, or with the error of a group that can't be read."""

    async def check(group: AppGroup) -> Finding:
        try:
            size = await count(group)
        except ReadError as error:
            return error_finding(subject, error, CheckName.GROUP_MEMBERS)
        message = f"{noun} {escape_control(group.name)}: {size}"
        return Finding("ok", subject, message, name=CheckName.GROUP_MEMBERS)

    findings = list(await asyncio.gather(*map(check, groups[:MAX_GROUPS])))
    if (left := len(groups) - MAX_GROUPS) > 0:
        message = f"{left:,} more {noun}s were not tried"
        findings.append(Finding("ok", subject, message, name=CheckName.GROUP_MEMBERS))
    return findings


def size_label(count: int, *, has_more: bool) -> str:
    """Return how many people a list has, by its first page."""
    people = "1 person" if count == 1 else f"{count:,} people"
    return f"at least {people}" if has_more else people


async def check_lookup(subject: str, lookup: LookupFunction, people: Iterable[str], source: Source) -> list[Finding]:
    """Look up the first of *people* by id. A failure is a warning: a run goes on without it."""
    person = next(iter(sorted(people)), None)
    if person is None:
        message = "no one is assigned, so no person was read by id"
        return [Finding("ok", subject, message, name=CheckName.ONE_PERSON)]
    try:
        found = await lookup(person, source)
    except ReadError as error:
        message = f"No person can be looked up: {error.message}"
        return [Finding("warning", subject, message, f"{error.hint} {CONSEQUENCE}", name=CheckName.ONE_PERSON)]
    shown = escape_control(found.source_status) or found.status
    findings = [Finding("ok", subject, f"person {person} can be read by id: {shown}", name=CheckName.ONE_PERSON)]
    if found.groups is not None:
        message = f"the groups of person {person} can be read: {len(found.groups):,}"
        findings.append(Finding("ok", subject, message, name=CheckName.GROUPS_OF_PERSON))
    elif found.status in {Status.ACTIVE, Status.UNKNOWN}:
        message = (
            f"Person {person} can be looked up by id, but not the groups or roles that hold them: {found.groups_error}"
        )
        remedy = f"Let the credentials read the groups of a person. {CONSEQUENCE}"
        findings.append(Finding("warning", subject, message, remedy, name=CheckName.GROUPS_OF_PERSON))
    return findings


async def check_suspended_person(
    subject: str, find: Callable[[], Awaitable[str | None]], lookup: LookupFunction, source: Source
) -> list[Finding]:
    """Look up a suspended or deactivated person, whose id *find* returns: leavers must be readable."""
    name = CheckName.SUSPENDED_PERSON
    try:
        person = await find()
        if person is None:
            message = "no suspended or deactivated person is visible here, so it is not shown that one can be read"
            return [Finding("ok", subject, message, name=name)]
        found = await lookup(person, source)
    except ReadError as error:
        message = f"No suspended person can be read: {error.message}"
        return [Finding("warning", subject, message, f"{error.hint} {CONSEQUENCE}", name=name)]
    shown = escape_control(found.source_status) or found.status
    if found.status is Status.DELETED:
        message = f"Person {person} is listed as suspended, but does not exist when read by id."
        remedy = f"Let the credentials read suspended and deactivated people. {CONSEQUENCE}"
        return [Finding("warning", subject, message, remedy, name=name)]
    return [Finding("ok", subject, f"person {person}, who is {shown}, can be read by id", name=name)]


async def check_feed(
    subject: str, feed: Feed, sources: Sequence[Source], *, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """Try what a change feed needs: a fresh cursor, which is not kept, and for each source the read of its application.

    A problem is a warning: runs go on without the feed.
    """
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(seconds):
            try:
                page = await feed.begin()
            except ReadError as error:
                message = f"The change feed can't be read: {error.message}"
                return [Finding("warning", subject, message, f"{error.hint} {NO_FEED}", name=CheckName.CHANGE_FEED)]
            count = f"{len(page.events):,}{' or more' if page.has_more else ''}"
            message = f"the change feed can be read; events of the last minutes: {count}"
            findings.append(Finding("ok", subject, message, name=CheckName.CHANGE_FEED))
            findings += [await _check_feed_application(f"{subject}, app {each.app}", feed, each) for each in sources]
    except TimeoutError:
        findings.append(time_limit_finding(subject, Area.CONNECTOR, seconds))
    return findings


async def _check_feed_application(subject: str, feed: Feed, source: Source) -> Finding:
    name = CheckName.CHANGE_FEED
    try:
        await feed.look_at({}, source)
    except ReadError as error:
        message = f"The application can't be read for the change feed: {error.message}"
        return Finding("warning", subject, message, f"{error.hint} {NO_FEED}", name=name, source=source)
    return Finding("ok", subject, "the application can be read for the change feed", name=name, source=source)


def choose_groups(
    subject: str, assigned: Sequence[AppGroup], source: Source, app_name: str, naming: GroupNaming, remedy: str
) -> tuple[tuple[AppGroup, ...], Finding]:
    """Return the groups that *source* counts, and the finding on them. *remedy* is for an application without groups.

    *app_name* may stand in a message.
    """
    try:
        counted = select_groups(assigned, source.groups, app_name, naming)
    except ReadError as error:
        return (), error_finding(subject, error, CheckName.GROUPS)
    if not counted:
        message = f"{app_name} has no {naming.noun}s, so no one is entitled through it."
        return (), Finding("warning", subject, message, remedy, name=CheckName.GROUPS)
    names = escape_control(", ".join(sorted(group.name for group in counted)))
    message = f"{app_name} has the {naming.noun}s that count: {names}"
    return counted, Finding("ok", subject, message, name=CheckName.GROUPS)


def page_size_finding(subject: str, asked: int, sizes: Iterable[int]) -> Finding:
    """Return how many rows a page holds. *sizes* are those of pages that have a next page."""
    largest = max(sizes, default=None)
    if largest is None:
        message = f"each list fits in one page, so it is not shown that a page holds the {asked:,} rows asked for"
    elif largest >= asked:
        message = f"a page holds the {asked:,} rows asked for"
    else:
        message = f"a page holds {largest:,} rows where {asked:,} are asked for; reads go on with what comes"
    return Finding("ok", subject, message, name=CheckName.PAGE_SIZE)


def next_link_finding(subject: str, link: str | None, base_url: str, setting: str) -> Finding:
    """Return whether the next page is at the address in the configuration: no request follows a link elsewhere."""
    name = CheckName.NEXT_LINK
    if link is None:
        message = "no list here has a second page, so it is not shown where a next page would be"
        return Finding("ok", subject, message, name=name)
    target, own = httpx.URL(link), httpx.URL(base_url)
    if (target.scheme, target.host, target.port) == (own.scheme, own.host, own.port):
        return Finding("ok", subject, f"the next page is at {escape_control(target.host)}, as configured", name=name)
    root = escape_control(f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}")
    message = f"the next page is at {root}, and the configuration has {own.scheme}://{own.netloc.decode()}."
    remedy = f"If that is the provider's own address, write it as `{setting}`; else look for a proxy that rewrites."
    return Finding("error", subject, message, remedy, name=name)
