"""Check one workspace without writing: its URL, each token, its listing and its filter. Every read is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from agent.model import Member
from agent.model.page_size import LARGEST_PAGE, SMALL_PAGE
from agent.scim.codec import Page, page_from_json
from agent.scim.endpoint import PROBE_URL, REFUSAL_STATUSES, Endpoint
from agent.scim.lookup import Finder
from agent.scim.page_size import PageSize
from connectors.base import Area, CheckName, CredentialsRefused, Finding, ReadError
from connectors.checks import CHECK_SECONDS, time_limit_finding
from connectors.http import ApiResponse

__all__ = ["Preflight"]

OK, BAD_REQUEST = 200, 400
MAX_PAGES = 10
"""How many pages are read to find an inactive member."""
MANY_REQUESTS = 120
"""A listing of more requests uses a quarter of what Pigment accepts in five minutes."""

_finding = partial(Finding, area=Area.WORKSPACE)
Check = Callable[[], Awaitable[list[Finding]]]


@dataclass(slots=True)
class _Seen:
    """The members on the pages read so far.

    *count* is the number of members to ask for, *size* the number of rows on the first page.
    """

    totals: list[int | None] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    count: int = LARGEST_PAGE
    size: int = 0
    is_whole: bool = False

    @property
    def inactive(self) -> Member | None:
        return next((member for member in self.members.values() if member.active is False), None)


class Preflight:
    """The preflight of one workspace with the key *name* in the configuration. Runs ask for pages of *page_size*."""

    def __init__(self, name: str, endpoint: Endpoint, finder: Finder, page_size: PageSize, check_clock: Check) -> None:
        self._subject = f"workspace {name}"
        self._endpoint = endpoint
        self._finder = finder
        self._page_size = page_size
        self._check_clock = check_clock

    async def run(self, unknown_name: str) -> list[Finding]:
        """Return a finding for each token, and when one works, those on the listing and the filter. Raises nothing.

        *unknown_name* is a name that no member has.
        """
        findings: list[Finding] = []
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                findings += await self._check_clock()
                tokens = [await self._check_token(number) for number in range(len(self._endpoint.tokens))]
                if not any(finding.level == "ok" for finding in tokens):
                    return [*findings, *(replace(finding, level="error") for finding in tokens)]
                findings += tokens
                self._endpoint.tokens.restart()
                seen = _Seen()
                findings += await self._attempt(CheckName.MEMBERS, partial(self._check_listing, seen))
                findings += await self._attempt(CheckName.UNKNOWN_NAME, partial(self._check_lookup, unknown_name))
                findings += await self._attempt(CheckName.FILTER_CASE, partial(self._check_filter_case, seen))
        except TimeoutError:
            findings.append(time_limit_finding(self._subject, Area.WORKSPACE))
        return findings

    async def _attempt(self, name: CheckName, check: Check) -> list[Finding]:
        try:
            return await check()
        except ReadError as error:
            return [_finding("error", self._subject, error.message, error.hint, name=name)]

    async def _check_token(self, number: int) -> Finding:
        subject = f"{self._subject}, token {number + 1}"
        try:
            response = await self._request_with_token(number)
            if response.status in REFUSAL_STATUSES:
                raise self._endpoint.api.error_from_response(response)
            total = page_from_json(response.json(), self._endpoint.name).total
        except ReadError as error:
            # If another token is accepted, the workspace works until that one expires too.
            level: Literal["warning", "error"] = "warning" if isinstance(error, CredentialsRefused) else "error"
            return _finding(level, subject, error.message, error.hint, name=CheckName.TOKEN)
        message = f"accepted; {'an unknown number of' if total is None else f'{total:,}'} members"
        return _finding("ok", subject, message, name=CheckName.TOKEN)

    async def _request_with_token(self, number: int) -> ApiResponse:
        tokens = self._endpoint.tokens
        tokens.current = number
        tokens.headers(number)
        return await self._endpoint.api.get(PROBE_URL, accept=(OK, *REFUSAL_STATUSES))

    async def _check_listing(self, seen: _Seen) -> list[Finding]:
        """Read pages until one holds an inactive member, and return what they show."""
        seen.totals.append(page_from_json((await self._fetch_page(1, 1)).json(), self._endpoint.name).total)
        start, pages = 1, 0
        while pages < MAX_PAGES and not seen.is_whole and seen.inactive is None:
            page = await self._read_page(start, seen)
            pages += 1
            seen.size = seen.size or page.row_count
            seen.totals.append(page.total)
            seen.members |= {member.scim_id: member for member in page.members}
            start += page.row_count
            seen.is_whole = not page.row_count or start > (page.total or 0)
        await self._page_size.learn(seen.count)
        return [
            self._page_size_finding(seen),
            self._total_finding(seen),
            self._inactive_finding(seen),
            self._email_finding(seen),
        ]

    async def _read_page(self, start: int, seen: _Seen) -> Page:
        """Return one page. A server that refuses a page of that size is asked for smaller ones from then on."""
        if seen.count > SMALL_PAGE:
            response = await self._fetch_page(start, seen.count, (OK, BAD_REQUEST))
            if response.status == OK:
                page = page_from_json(response.json(), self._endpoint.name)
                if page.row_count or start > 1 or not page.total:
                    return page
            seen.count = SMALL_PAGE
        return page_from_json((await self._fetch_page(start, seen.count)).json(), self._endpoint.name)

    async def _fetch_page(self, start: int, count: int, accept: tuple[int, ...] = (OK,)) -> ApiResponse:
        return await self._endpoint.read(f"Users?startIndex={start}&count={count}", accept, is_listing=True)

    def _page_size_finding(self, seen: _Seen) -> Finding:
        name, total, size = CheckName.PAGE_SIZE, seen.totals[-1] or 0, seen.size
        if size >= total:
            message = f"all {total:,} members fit in one page, so it is not shown that a page holds {seen.count:,}"
            return _finding("ok", self._subject, message, name=name)
        requests = -(-total // min(size, self._page_size.largest)) if size else total
        message = f"a page holds {size:,} members where {seen.count:,} are asked for"
        if seen.count < LARGEST_PAGE:
            message += f", because pages of {LARGEST_PAGE:,} are refused"
        if requests <= MANY_REQUESTS:
            return _finding("ok", self._subject, f"{message}: a listing takes {requests:,} requests", name=name)
        return _finding(
            "warning",
            self._subject,
            f"{message}: a listing takes {requests:,} requests, of the 500 that Pigment accepts in 5 minutes.",
            "Sync less often, and ask Pigment's support for larger pages.",
            name=name,
        )

    def _total_finding(self, seen: _Seen) -> Finding:
        name = CheckName.TOTAL
        if len(set(seen.totals)) == 1 and seen.totals[0] is not None:
            message = f"each page shows the same total: {seen.totals[0]:,} members"
            return _finding("ok", self._subject, message, name=name)
        shown = ", ".join("none" if total is None else f"{total:,}" for total in dict.fromkeys(seen.totals))
        remedy = (
            "Check again while no member changes. If the total is known to be wrong, set `total_results: ignore` for "
            "this workspace."
        )
        message = f"the pages of one listing show different totals, or none: {shown}."
        return _finding("warning", self._subject, message, remedy, name=name)

    def _inactive_finding(self, seen: _Seen) -> Finding:
        read = f"{len(seen.members):,}"
        if (member := seen.inactive) is not None:
            message = f"inactive members are listed: the member {member.scim_id} is"
        elif seen.is_whole:
            message = f"all {read} members are active; `pigment-sync probe` shows whether inactive ones are listed"
        else:
            message = (
                f"the first {read} members are active; `pigment-sync probe` shows whether inactive ones are listed"
            )
        return _finding("ok", self._subject, message, name=CheckName.INACTIVE_MEMBERS)

    def _email_finding(self, seen: _Seen) -> Finding:
        name, read = CheckName.MEMBERS_WITHOUT_EMAIL, len(seen.members)
        without = sum("@" not in member.email for member in seen.members.values())
        if not without:
            return _finding("ok", self._subject, f"each of the {read:,} members read has an email", name=name)
        return _finding(
            "warning",
            self._subject,
            f"{without:,} of the {read:,} members read have no email as `userName`: no person is matched to them.",
            "Look at them with: `pigment-sync members`",
            name=name,
        )

    async def _check_lookup(self, unknown_name: str) -> list[Finding]:
        name = CheckName.UNKNOWN_NAME
        if not await self._finder.find(unknown_name):
            return [_finding("ok", self._subject, "a filter by an unknown name finds no member", name=name)]
        message = f"a filter finds a member for the unknown name {unknown_name}."
        return [_finding("error", self._subject, message, "Ask Pigment's support.", name=name)]

    async def _check_filter_case(self, seen: _Seen) -> list[Finding]:
        """Look a member up by its address in capitals and in small letters."""
        name = CheckName.FILTER_CASE
        member = next((each for each in seen.members.values() if "@" in each.email), None)
        if member is None:
            return [_finding("ok", self._subject, "there is no member to filter by", name=name)]
        missed = [
            kind
            for kind, text in (("capital", member.email.upper()), ("small", member.email.lower()))
            if member.scim_id not in {found.scim_id for found in await self._finder.find(text)}
        ]
        if not missed:
            message = f"a filter by `userName` finds the member {member.scim_id} in capital and in small letters"
            return [_finding("ok", self._subject, message, name=name)]
        return [
            _finding(
                "warning",
                self._subject,
                f"a filter by `userName` does not find the member {member.scim_id} in {' nor in '.join(missed)} "
                "letters: before a create, a member in other letters is not noticed.",
                "Ask Pigment's support: `userName` is compared without case (RFC 7643, section 4.1.1).",
                name=name,
            )
        ]
