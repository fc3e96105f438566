"""List a workspace: every member once, or an error. A listing that may be incomplete is never returned.

first page ──> nextCursor? ── yes ──> follow it to its end (RFC 9865)
                  │ no
                  └──> the rest concurrently by startIndex, each range advancing by the items received
a page refused (400), or the first one empty: begin again with smaller pages, where their size is negotiated
complete: as many distinct ids as `totalResults`, which was the same on every page; else list again
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from agent.model import Listing, Member
from agent.scim.codec import Page, page_from_response
from agent.scim.endpoint import Endpoint, error_type
from agent.scim.page_size import PageSize
from connectors.base import IncompleteRead, Progress, ReadError
from connectors.http import decode_cursor

__all__ = ["Lister"]

MAX_LISTINGS = 3
MAX_CONCURRENT = 8
OK, BAD_REQUEST = 200, 400


class _CursorExpired(Exception):
    """The server dropped the cursor (RFC 9865, section 3.1): the listing starts again."""


class _PageRefused(Exception):
    """The server refused a page that may have been too large."""

    def __init__(self, error: ReadError) -> None:
        super().__init__()
        self.error = error


@dataclass(slots=True)
class _Pages:
    """One listing while it is read. *totals* are the totals of all pages; *total* is the first one."""

    total: int | None = None
    totals: set[int | None] = field(default_factory=set)
    members: dict[str, Member] = field(default_factory=dict)
    row_count: int = 0
    unreadable_count: int = 0

    def add(self, page: Page) -> int:
        """Add a page and return how many new members it had."""
        before = len(self.members)
        for member in page.members:
            self.members.setdefault(member.scim_id, member)
        if not self.totals:
            self.total = page.total
        self.totals.add(page.total)
        self.row_count += page.row_count
        self.unreadable_count += page.unreadable_count
        return len(self.members) - before

    def is_empty_page_of_some(self) -> bool:
        """Return whether the server counted members and returned none, as one does whose pages can't be that large."""
        return not self.row_count and bool(self.total)

    def is_complete(self) -> bool:
        return self.totals == {len(self.members)} and not self.unreadable_count


class Lister:
    """Lists one workspace. With *total_results* `ignore` the total is known to be wrong; two listings must agree."""

    def __init__(
        self, endpoint: Endpoint, page_size: PageSize, max_pages: int, total_results: Literal["check", "ignore"]
    ) -> None:
        self._endpoint = endpoint
        self._page_size = page_size
        self._max_pages = max_pages
        self._ignores_total = total_results == "ignore"

    async def list_members(self, progress: Progress) -> Listing:
        """Return all members. Raises `ReadError` after at most three listings with pages of an accepted size."""
        pages = listings = 0
        previous: _Pages | None = None
        first_size = size = await self._page_size.requested()
        while listings < MAX_LISTINGS:
            listing = _ListingRead(self._endpoint, size, self._max_pages, progress)
            try:
                pages_read = await listing.read_all(ignores_total=self._ignores_total)
            except _PageRefused as refused:
                smaller = self._page_size.smaller(size)
                if smaller is None:
                    raise refused.error from None
                # Members of the refused listing count for nothing: both sizes must not mix in one.
                size, previous, listings = smaller, None, 0
                continue
            except _CursorExpired:
                listings += 1
                continue
            finally:
                pages += listing.page_count
            if self._is_complete(pages_read, previous):
                if size != first_size:
                    await self._page_size.learn(size)
                return Listing(tuple(pages_read.members.values()), pages)
            if pages_read.is_empty_page_of_some() and (smaller := self._page_size.smaller(size)) is not None:
                size, listings = smaller, 0
                continue
            listings += 1
            previous = pages_read
        raise self._incomplete_error(previous)

    def _is_complete(self, pages_read: _Pages, previous: _Pages | None) -> bool:
        if pages_read.members and not any(member.email for member in pages_read.members.values()):
            raise IncompleteRead(
                f"{self._endpoint.name} returns no userName for any of its {len(pages_read.members):,} members.",
                "The token may lack the permission to read members: create a new one in Pigment.",
            )
        if pages_read.row_count and pages_read.unreadable_count == pages_read.row_count:
            raise IncompleteRead(
                f"{self._endpoint.name} lists {pages_read.row_count:,} rows, none with a readable id.",
                "Check that `scim_url` is the URL that Pigment generated for this workspace.",
            )
        if not self._ignores_total:
            return pages_read.is_complete()
        return (
            previous is not None
            and previous.members.keys() == pages_read.members.keys()
            and not pages_read.unreadable_count
        )

    def _incomplete_error(self, pages_read: _Pages | None) -> IncompleteRead:
        who = self._endpoint.name
        if pages_read is None:
            return IncompleteRead(
                f"{who} let its cursor expire in each of {MAX_LISTINGS} listings.", "Try again later."
            )
        if pages_read.unreadable_count:
            return IncompleteRead(
                f"{who} lists {pages_read.unreadable_count:,} of {pages_read.row_count:,} rows without a readable id.",
                "Ask Pigment's support about the members without an id in its SCIM listing.",
            )
        if self._ignores_total:
            return IncompleteRead(
                f"{who} listed different members in each of {MAX_LISTINGS} listings.",
                "Members may have changed during the listing: try again.",
            )
        count = len(pages_read.members)
        totals = " or ".join("?" if total is None else f"{total:,}" for total in sorted(pages_read.totals, key=str))
        return IncompleteRead(
            f"{who} returned `totalResults` {totals} but {count:,} members, in {MAX_LISTINGS} listings.",
            "Members may have changed during the listing: try again. If the total is known to be wrong, "
            "set `total_results: ignore` for this workspace.",
        )


class _ListingRead:
    """The pages of one listing."""

    def __init__(self, endpoint: Endpoint, page_size: int, max_pages: int, progress: Progress) -> None:
        self.page_count = 0
        self._endpoint = endpoint
        self._page_size = page_size
        self._max_pages = max_pages
        self._progress = progress
        self._pages = _Pages()

    async def read_all(self, *, ignores_total: bool) -> _Pages:
        """Read every page. With *ignores_total*, read on until a page has nothing new."""
        first = await self._fetch_page(f"startIndex=1&count={self._page_size}")
        if first.cursor is not None:
            await self._follow_cursor(first.cursor)
            return self._pages
        total = first.total or 0
        if ignores_total and first.row_count:
            await self._fetch_until_empty(first.row_count + 1)
        elif first.row_count and total > first.row_count:
            await self._fetch_ranges(first.row_count, total)
        return self._pages

    async def _follow_cursor(self, cursor: str | None) -> None:
        page_guard = self._endpoint.api.page_guard("Users")
        while cursor is not None:
            page = await self._fetch_page(
                f"cursor={quote(page_guard.advance(decode_cursor(cursor)), safe='')}&count={self._page_size}"
            )
            cursor = page.cursor

    async def _fetch_ranges(self, size: int, total: int) -> None:
        if total > size * self._max_pages:
            raise self._too_long_error(f"{total:,} members in pages of {size:,}")
        starts = iter(range(size + 1, total + 1, size))

        async def fetch_ranges() -> None:
            for start in starts:
                await self._fetch_range(start, min(start + size, total + 1), is_last=start + size > total)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(MAX_CONCURRENT):
                    tasks.create_task(fetch_ranges())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _fetch_range(self, start: int, end: int, *, is_last: bool) -> None:
        """Read the rows from *start* up to *end*, in as many pages as the server returns."""
        while start < end:
            # The last request is for a full page: a server with more rows than its total returns them.
            count = self._page_size if is_last else end - start
            page = await self._fetch_page(f"startIndex={start}&count={count}")
            if not page.row_count:
                return
            start += page.row_count

    async def _fetch_until_empty(self, start: int) -> None:
        # `_fetch_page` limits the number of pages.
        while True:
            known = len(self._pages.members)
            page = await self._fetch_page(f"startIndex={start}&count={self._page_size}")
            if len(self._pages.members) == known:
                return
            start += page.row_count

    async def _fetch_page(self, query: str) -> Page:
        if self.page_count >= self._max_pages:
            raise self._too_long_error(f"{self.page_count:,} pages read")
        self.page_count += 1
        response = await self._endpoint.read(f"Users?{query}", (OK, BAD_REQUEST), is_listing=True)
        if response.status == BAD_REQUEST:
            if query.startswith("cursor=") and error_type(response) == "expiredCursor":
                raise _CursorExpired
            raise _PageRefused(self._endpoint.api.error_from_response(response))
        page = page_from_response(response, self._endpoint.name)
        self._pages.add(page)
        self._progress(f"{self._endpoint.name}: listing", len(self._pages.members), self._pages.total)
        return page

    def _too_long_error(self, what: str) -> IncompleteRead:
        return IncompleteRead(
            f"{self._endpoint.name} lists more than the agent reads: {what}.",
            "Check that `scim_url` is right; no known workspace is that large.",
        )
