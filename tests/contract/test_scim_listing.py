"""A listing is whole or an error, whatever the workspace does: one test for each cell of docs/reads-and-writes.md."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from agent.scim.client import ScimClient
from connectors.base import Area, CheckName, CredentialsRefused, Finding, IncompleteRead, ReadError
from connectors.http import RequestLimits, Timer
from tests.contract.scim_faults import (
    ALWAYS,
    TOKENS,
    URL,
    Answering,
    Fault,
    a_scene,
    answer,
    bomb,
    broken_off,
    edited,
    reset_after,
    scim_error,
    silent,
    streamed,
    unreachable,
)

HEALING: dict[str, Fault] = {
    "unreachable": unreachable,
    "silent": silent,
    "broken-off": broken_off,
    "reset": reset_after,
    "429": answer(429),
    "429-html": answer(429, "<html><title>Slow down</title></html>", retry_after="7"),
    "403-limit": answer(403, retry_after="2"),
    "500": answer(500),
    "502-html": answer(502, "<html>Bad gateway</html>"),
    "503": answer(503, retry_after="2"),
    "504": answer(504),
    "cut-gzip": streamed([gzip.compress(b'{"totalResults": 0}')[:-6]], {"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("fault", HEALING.values(), ids=HEALING)
async def test_listing_survives_what_heals(fault: Fault) -> None:
    scene = a_scene(members=5)
    scene.wire.fault("GET list", [1, 3], fault)

    async with scene.client(page_size=2) as workspace:
        listing = await workspace.list_members()

        assert len(listing.members) == 5
        assert (listing.page_count, workspace.requests) == (3, 5)
    assert all(seconds > 0 for seconds in scene.time.naps)


@pytest.mark.parametrize("fault", HEALING.values(), ids=HEALING)
async def test_listing_fails_when_it_does_not_heal(fault: Fault) -> None:
    scene = a_scene(members=5)
    scene.wire.fault("GET list", ALWAYS, fault)

    began = scene.time.now
    async with scene.client(limits=RequestLimits(retries=3, max_wait_seconds=60)) as workspace:
        with pytest.raises(IncompleteRead) as failed:
            await workspace.list_members()

    assert "Pigment workspace latam" in failed.value.message
    assert failed.value.hint
    # A refusal that names a time is bounded by the time alone.
    assert len(scene.wire.sent) <= (20 if scene.time.now - began > 30 else 4)
    assert scene.time.now - began < 130


async def test_listing_refused_by_a_limit_for_good_blames_no_token() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET list", ALWAYS, answer(403, retry_after="2"))

    async with scene.client(*TOKENS, limits=RequestLimits(retries=2)) as workspace:
        with pytest.raises(IncompleteRead, match="answered 403") as failed:
            await workspace.list_members()

    assert "limits the number of requests" in failed.value.hint
    assert scene.warnings == []


@pytest.mark.parametrize("of", ["GET list", "GET find"])
async def test_byte_order_mark_before_json_is_skipped(of: str) -> None:
    scene = a_scene(members=2)

    async def marked(request: httpx.Request, real: Answering) -> httpx.Response:
        response = await real(request)
        return httpx.Response(response.status_code, content=b"\xef\xbb\xbf" + await response.aread())

    scene.wire.fault(of, ALWAYS, marked)

    async with scene.client() as workspace:
        assert len((await workspace.list_members()).members) == 2
        assert [member.email for member in await workspace.find("p2@acme.com")] == ["p2@acme.com"]


async def test_lookup_distinguishes_local_parts_that_only_full_folding_equates() -> None:
    scene = a_scene()
    row = {"id": "1", "userName": "straße@acme.com", "active": True}
    scene.wire.fault("GET find", ALWAYS, answer(200, json.dumps({"totalResults": 1, "Resources": [row]})))

    async with scene.client() as workspace:
        assert await workspace.find("strasse@acme.com") == ()
        assert len(await workspace.find("STRAẞE@acme.com")) == 1


STAYING: dict[str, tuple[Fault, str]] = {
    "not-found": (answer(404), "404"),
    "bad-request": (scim_error(400, "invalidValue", "count is too large"), "count is too large"),
    "html": (answer(200, "<html>Please sign in</html>"), "not JSON"),
    "truncated-json": (answer(200, '{"totalResults": 5, "Resources": [{"id"'), "not JSON"),
    "other-json": (answer(200, "[]"), "not a SCIM list"),
    "resources-no-list": (answer(200, '{"totalResults": 1, "Resources": {"id": "1"}}'), "not a SCIM list"),
    "deep-json": (answer(200, '{"Resources":' + "[" * 100_000), "not JSON"),
    "not-utf-8": (answer(200, b'{"totalResults": "\xff"}'), "not JSON"),
    "moved": (answer(301, location="https://elsewhere.example/scim"), "301"),
    "moved-away": (answer(307, location="https://elsewhere.example/scim/Users"), "307"),
    "too-large": (streamed(itertools.repeat(b" " * 65_536)), "more than 1,048,576 bytes"),
    "gzip-bomb": (bomb(50 * 2**20), "more than 1,048,576 bytes"),
    "strange-packing": (streamed([b"?"], {"content-encoding": "gzip, gzip"}), "not requested"),
}


@pytest.mark.parametrize(("fault", "message"), STAYING.values(), ids=STAYING)
async def test_listing_fails_at_once_for_what_does_not_heal(fault: Fault, message: str) -> None:
    scene = a_scene(members=5)
    scene.wire.fault("GET list", ALWAYS, fault)

    async with scene.client(limits=RequestLimits(max_bytes=2**20)) as workspace:
        with pytest.raises(IncompleteRead) as failed:
            await workspace.list_members()

    assert message in failed.value.message
    assert len(scene.wire.sent) == 1
    assert "elsewhere.example" not in {request.url.host for request in scene.wire.sent}


@pytest.mark.parametrize(("fault", "message"), STAYING.values(), ids=STAYING)
async def test_fault_on_a_later_page_ends_the_listing_too(fault: Fault, message: str) -> None:
    scene = a_scene(members=5)
    scene.wire.fault("GET list", 3, fault)

    async with scene.client(page_size=2, limits=RequestLimits(max_bytes=2**20)) as workspace:
        with pytest.raises(IncompleteRead, match=message):
            await workspace.list_members()


@pytest.mark.parametrize("cut", [0, 16_000], ids=["in one piece", "in two pieces"])
async def test_gzip_bomb_is_never_unpacked_beyond_the_bound(cut: int) -> None:
    packed = gzip.compress(b" " * 64 * 2**20)
    scene = a_scene()
    scene.wire.fault("GET list", ALWAYS, streamed([packed[:cut], packed[cut:]], {"content-encoding": "gzip"}))

    async with scene.client(limits=RequestLimits(max_bytes=2**24)) as workspace:
        tracemalloc.start()
        with pytest.raises(IncompleteRead, match="more than 16,777,216 bytes"):
            await workspace.list_members()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    # The body up to the limit, one part of it above, and what the test itself holds.
    assert peak < 2**24 + 4 * 2**20


async def test_redirect_on_the_same_origin_is_followed() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET list", 1, answer(308, location="/latam/scim/v2/Users?startIndex=1&count=100"))

    async with scene.client() as workspace:
        assert len((await workspace.list_members()).members) == 1
    assert scene.wire.sent[1].headers["authorization"] == "Bearer first-token"


@pytest.mark.parametrize("wait", ["60", "Thu, 01 Jan 1970 00:17:40 GMT"])
async def test_retry_after_is_kept_in_seconds_and_as_a_date(wait: str) -> None:
    scene = a_scene(members=1)  # its wall clock starts at 1970-01-01 00:16:40
    scene.wire.fault("GET list", 1, answer(429, retry_after=wait))

    async with scene.client() as workspace:
        await workspace.list_members()

    assert 60 <= scene.time.naps[0] <= 61


async def test_retry_after_beyond_the_bounds_ends_the_read_at_once() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET list", ALWAYS, answer(429, retry_after="86400"))

    async with scene.client() as workspace:
        with pytest.raises(IncompleteRead, match="429"):
            await workspace.list_members()

    assert (len(scene.wire.sent), scene.time.naps) == (1, [])


async def test_internal_error_is_retried_twice_only() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET list", ALWAYS, answer(500, "boom"))

    async with scene.client(limits=RequestLimits(retries=10)) as workspace:
        with pytest.raises(IncompleteRead, match=r'500 .*"boom"'):
            await workspace.list_members()

    assert len(scene.wire.sent) == 3


async def test_answer_that_never_ends_is_bounded_in_time() -> None:
    scene = a_scene()

    async def drip(request: httpx.Request, real: Answering) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError("no one waits that long")

    scene.wire.fault("GET list", ALWAYS, drip)

    async with scene.client(limits=RequestLimits(max_wait_seconds=0.01, retries=0), timer=Timer()) as workspace:
        with pytest.raises(IncompleteRead, match=r"within 0\.01 s"):
            await workspace.list_members()


# Tokens.


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_token_gives_way_to_the_next(status: int) -> None:
    scene = a_scene(members=6)
    scene.wire.fault("GET list", 2, answer(status))

    async with scene.client(*TOKENS, page_size=2) as workspace:
        assert len((await workspace.list_members()).members) == 6

    assert [warning["token"] for warning in scene.warnings] == [1]


async def test_token_revoked_in_the_middle_is_replaced_for_all_pages_under_way() -> None:
    scene = a_scene(members=40)

    async def revoked(request: httpx.Request, real: Answering) -> httpx.Response:
        await asyncio.sleep(0)  # so that others are under way with the same token
        if request.headers["authorization"] == "Bearer first-token":
            return httpx.Response(401)
        return await real(request)

    scene.wire.fault("GET list", range(2, 1000), revoked)

    async with scene.client(*TOKENS, page_size=2) as workspace:
        assert len((await workspace.list_members()).members) == 40

    assert len(scene.warnings) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_listing_without_an_accepted_token_is_a_matter_of_credentials(status: int) -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET", ALWAYS, scim_error(status, detail="no use of Bearer first-token or second-token here"))

    async with scene.client(*TOKENS) as workspace:
        with pytest.raises(CredentialsRefused) as refused:
            await workspace.list_members()

    shown = refused.value.message + refused.value.hint + str(scene.warnings)
    assert str(status) in shown
    assert "second-token" not in shown


async def test_next_listing_begins_with_the_first_token_again() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET list", [1, 3], answer(401))

    async with scene.client(*TOKENS) as workspace:
        await workspace.list_members()
        await workspace.list_members()
        await workspace.list_members()

    used = [request.headers["authorization"].split()[1] for request in scene.wire.sent]
    assert used == ["first-token", "second-token"] * 2 + ["first-token"]
    assert len(scene.warnings) == 2


@pytest.mark.parametrize("token", ["", "two words", "línea", "line\nbreak"])
async def test_token_that_no_header_can_hold_is_named_and_not_shown(token: str) -> None:
    scene = a_scene(members=1)

    async with scene.client(token) as workspace:
        with pytest.raises(CredentialsRefused, match="Token 1 of workspace latam") as refused:
            await workspace.list_members()

    assert not token or token not in refused.value.message
    assert scene.wire.sent == []


async def test_token_that_can_not_be_revealed_gives_way_to_the_next() -> None:
    scene = a_scene(members=1)

    async with scene.client("", TOKENS[1]) as workspace:
        assert len((await workspace.list_members()).members) == 1

    assert scene.warnings == [
        {"event": "token.refused", "workspace": "latam", "token": 1, "of": 2, "why": "secret-invalid"}
    ]


# Pages.


async def test_unchanged_workspace_costs_exactly_its_pages() -> None:
    scene = a_scene(members=250)

    async with scene.client() as workspace:
        listing = await workspace.list_members()

        assert (len(listing.members), listing.page_count, workspace.requests) == (250, 3, 3)


@pytest.mark.parametrize("members", [0, 1, 99, 100, 101, 199, 200, 201])
async def test_listing_is_whole_around_the_edges_of_pages(members: int) -> None:
    scene = a_scene(members)

    async with scene.client() as workspace:
        listing = await workspace.list_members()

        assert len(listing.members) == members
        assert workspace.requests == max(1, -(-members // 100))


async def test_pages_smaller_than_asked_for_are_continued_by_what_came() -> None:
    scene = a_scene(members=50, page_size=7, short_pages=True)

    async with scene.client() as workspace:
        assert len((await workspace.list_members()).members) == 50


async def test_items_per_page_is_not_believed() -> None:
    scene = a_scene(members=5)
    scene.wire.fault("GET list", ALWAYS, edited(lambda page: page.update(itemsPerPage=100)))

    async with scene.client(page_size=2) as workspace:
        assert len((await workspace.list_members()).members) == 5


@pytest.mark.parametrize("absent", [None, "missing"])
async def test_empty_listing_may_lack_its_resources(absent: str | None) -> None:
    scene = a_scene()
    scene.wire.fault(
        "GET", ALWAYS, edited(lambda page: page.pop("Resources") if absent else page.update(Resources=None))
    )

    async with scene.client() as workspace:
        assert (await workspace.list_members()).members == ()


async def test_cursors_are_followed_to_the_end() -> None:
    scene = a_scene(members=10, page_size=3, next_cursor=True)

    async with scene.client() as workspace:
        listing = await workspace.list_members()

    assert (len(listing.members), listing.page_count) == (10, 4)


async def test_cursor_that_repeats_is_refused() -> None:
    scene = a_scene(members=10, page_size=3, next_cursor=True)
    scene.wire.fault("GET list", ALWAYS, edited(lambda page: page.update(nextCursor="again+/=")))

    async with scene.client() as workspace:
        with pytest.raises(IncompleteRead, match=r"would never end|answered 400"):
            await workspace.list_members()
    assert len(scene.wire.sent) == 2


async def test_empty_page_with_a_cursor_is_not_the_end() -> None:
    pages = {
        "1": {"totalResults": 2, "Resources": [{"id": "1", "userName": "a@acme.com"}], "nextCursor": "two"},
        "two": {"totalResults": 2, "Resources": [], "nextCursor": "three"},
        "three": {"totalResults": 2, "Resources": [{"id": "2", "userName": "b@acme.com"}]},
    }

    async with serving(lambda request: pages[request.url.params.get("cursor", "1")]) as workspace:
        assert len((await workspace.list_members()).members) == 2


async def test_expired_cursor_starts_the_listing_again() -> None:
    scene = a_scene(members=10, page_size=3, next_cursor=True)
    scene.wire.fault("GET list", 2, scim_error(400, "expiredCursor"))

    async with scene.client() as workspace:
        listing = await workspace.list_members()

    assert (len(listing.members), listing.page_count) == (10, 6)


async def test_cursor_that_always_expires_ends_the_listing() -> None:
    scene = a_scene(members=10, page_size=3, next_cursor=True)
    scene.wire.fault("GET list", [2, 4, 6], scim_error(400, "expiredCursor"))

    async with scene.client() as workspace:
        with pytest.raises(IncompleteRead, match="expire"):
            await workspace.list_members()
    assert len(scene.wire.sent) == 6


# Totals.


@pytest.mark.parametrize(
    "edit",
    [
        lambda page: page.update(totalResults=7),
        lambda page: page.update(totalResults=5),
        lambda page: page.pop("totalResults"),
        lambda page: page.update(totalResults="many"),
        lambda page: page.update(totalResults=-1),
        lambda page: page.update(totalResults=True),
        lambda page: page.update(Resources=[]),
        lambda page: page["Resources"].__setitem__(1, page["Resources"][0]),
        lambda page: page["Resources"].pop(),
    ],
    ids=["high", "low", "missing", "word", "negative", "truth", "empty", "doubled", "row-gone"],
)
async def test_total_that_does_not_match_ends_the_listing_after_three(edit: Callable[[dict[str, Any]], object]) -> None:
    scene = a_scene(members=6)
    scene.wire.fault("GET list", ALWAYS, edited(edit))

    async with scene.client() as workspace:
        with pytest.raises(IncompleteRead) as failed:
            await workspace.list_members()

    assert "in 3 listings" in failed.value.message
    assert "total_results: ignore" in failed.value.hint


async def test_rows_given_twice_are_one_member() -> None:
    scene = a_scene(members=6)
    scene.wire.fault("GET list", ALWAYS, edited(lambda page: page["Resources"].append(page["Resources"][0])))

    async with scene.client() as workspace:
        assert len((await workspace.list_members()).members) == 6


async def test_members_that_come_while_listing_cost_a_second_listing() -> None:
    scene = a_scene(members=6)

    async def hire(request: httpx.Request, real: Answering) -> httpx.Response:
        scene.space.admin_create("new@acme.com", "New")
        return await real(request)

    scene.wire.fault("GET list", 2, hire)

    async with scene.client(page_size=2) as workspace:
        listing = await workspace.list_members()

    assert len(listing.members) == 7
    assert listing.page_count == 3 + 4


async def test_unstable_order_never_makes_a_short_listing() -> None:
    scene = a_scene(members=30, order_stable=False)

    async with scene.client(page_size=5) as workspace:
        outcome = await asyncio.gather(workspace.list_members(), return_exceptions=True)

    assert isinstance(outcome[0], IncompleteRead) or len(outcome[0].members) == 30  # type: ignore[union-attr]  # a listing


async def test_server_that_ignores_where_to_start_does_not_trap_us() -> None:
    rows = [{"id": str(number), "userName": f"p{number}@acme.com"} for number in range(10)]

    async with serving(lambda _: {"totalResults": 30, "Resources": rows}) as workspace:
        with pytest.raises(IncompleteRead, match="30 but 10 members"):
            await workspace.list_members()
        assert workspace.requests == 9


@pytest.mark.parametrize("total", [0, 1, 4, 9, 10**9, None])
async def test_wrong_total_can_be_ignored_when_two_listings_agree(total: int | None) -> None:
    scene = a_scene(members=9)
    scene.wire.fault("GET list", ALWAYS, edited(lambda page: page.update(totalResults=total)))

    async with scene.client(page_size=4, total_results="ignore") as workspace:
        assert len((await workspace.list_members()).members) == 9


async def test_listings_that_never_agree_are_an_error() -> None:
    scene = a_scene(members=1)
    numbers: Iterator[int] = itertools.count()

    async def hire(request: httpx.Request, real: Answering) -> httpx.Response:
        scene.space.admin_create(f"new{next(numbers)}@acme.com", "New")
        return await real(request)

    scene.wire.fault("GET list", [1, 3, 5], hire)

    async with scene.client(total_results="ignore") as workspace:
        with pytest.raises(IncompleteRead, match="different members in each"):
            await workspace.list_members()


async def test_endless_pages_are_bounded() -> None:
    numbers = itertools.count()

    def page(request: httpx.Request) -> dict[str, Any]:
        number = next(numbers)
        return {"totalResults": 1, "Resources": [{"id": str(number), "userName": "x"}], "nextCursor": str(number)}

    async with serving(page, limits=RequestLimits(max_pages=50)) as workspace:
        with pytest.raises(IncompleteRead, match=r"more than the agent reads|goes on after"):
            await workspace.list_members()
        assert workspace.requests <= 50


async def test_endless_pages_are_bounded_where_no_total_is_believed() -> None:
    async with serving(
        lambda request: {"Resources": [{"id": request.url.params["startIndex"], "userName": "x"}]},
        limits=RequestLimits(max_pages=50),
        total_results="ignore",
    ) as workspace:
        with pytest.raises(IncompleteRead, match="more than the agent reads"):
            await workspace.list_members()
        assert workspace.requests == 50


@pytest.mark.parametrize("total", [20_001, 10**12])
async def test_total_beyond_all_bounds_is_refused_before_it_is_walked(total: int) -> None:
    async with serving(lambda _: {"totalResults": total, "Resources": [{"id": "1", "userName": "a"}]}) as workspace:
        with pytest.raises(IncompleteRead, match="more than the agent reads"):
            await workspace.list_members()
        assert workspace.requests == 1


# Rows.


async def test_row_without_an_id_ends_the_listing_with_the_reason() -> None:
    scene = a_scene(members=6)
    scene.wire.fault("GET list", ALWAYS, edited(lambda page: page["Resources"][2].pop("id")))

    async with scene.client() as workspace:
        with pytest.raises(IncompleteRead, match="1 of 6 rows without a readable id"):
            await workspace.list_members()


@pytest.mark.parametrize("total_results", ["check", "ignore"])
async def test_row_without_an_id_is_never_counted_out(total_results: str) -> None:
    scene = a_scene(members=6)

    def hide_one(page: dict[str, Any]) -> None:
        page["totalResults"] = 5
        if len(page["Resources"]) > 2:
            page["Resources"][2].pop("id")

    scene.wire.fault("GET list", ALWAYS, edited(hide_one))

    async with scene.client(total_results=total_results) as workspace:
        with pytest.raises(IncompleteRead, match="1 of 6 rows without a readable id"):
            await workspace.list_members()


@pytest.mark.parametrize("rows", [[{}, {"id": None}], [None, "x"], [{"id": ""}, {"id": []}]])
async def test_rows_of_which_none_has_an_id_are_an_error_at_once(rows: list[object]) -> None:
    async with serving(lambda _: {"totalResults": 2, "Resources": rows}) as workspace:
        with pytest.raises(IncompleteRead, match="none with a readable id"):
            await workspace.list_members()
        assert workspace.requests == 1


async def test_listing_without_any_user_name_is_an_error() -> None:
    scene = a_scene(members=3)
    scene.wire.fault("GET", ALWAYS, edited(lambda page: [row.pop("userName") for row in page["Resources"]]))

    async with scene.client() as workspace:
        with pytest.raises(IncompleteRead, match="no userName"):
            await workspace.list_members()


async def test_odd_rows_among_good_ones_are_read_for_what_they_show() -> None:
    rows = [
        {"ID": 7, "USERNAME": "a@acme.com", "DisplayName": "A", "Active": "True"},
        {"id": "b/../c", "userName": "b@acme.com", "displayName": "\x1b[31mred\r\n\u202e", "active": 0},
        {"id": "c", "userName": None, "displayName": 5, "active": None, "name": None},
    ]

    async with serving(lambda _: {"TOTALRESULTS": "3", "resources": rows}) as workspace:
        first, second, third = (await workspace.list_members()).members

    assert (first.scim_id, first.email, first.display_name, first.active) == ("7", "a@acme.com", "A", True)
    assert (second.scim_id, second.display_name, second.active) == ("b/../c", "\x1b[31mred\r\n\u202e", False)
    assert (third.email, third.display_name, third.active) == ("", "", None)


async def test_name_cut_in_the_middle_of_a_letter_does_not_cost_the_page() -> None:
    page = b'{"totalResults": 1, "Resources": [{"id": "1", "userName": "a@acme.com", "displayName": "Ana \\ud83d"}]}'
    scene = a_scene()
    scene.wire.fault("GET", ALWAYS, answer(200, page))

    async with scene.client() as workspace:
        assert (await workspace.list_members()).members[0].display_name == "Ana \ufffd"


async def test_resource_too_deep_to_be_sent_back_counts_as_unreadable() -> None:
    deep = json.loads("[" * 400 + "]" * 400)
    rows = [{"id": "1", "userName": "a@acme.com", "x": deep}, {"id": "2", "userName": "b@acme.com"}]

    async with serving(lambda _: {"totalResults": 2, "Resources": rows}) as workspace:
        with pytest.raises(IncompleteRead, match="1 of 2 rows"):
            await workspace.list_members()


# Looking up.


async def test_lookup_accepts_a_scim_404_as_no_match_but_not_a_bare_one() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET", 1, scim_error(404))
    scene.wire.fault("GET", 2, answer(404, "<html>no such page</html>"))

    async with scene.client() as workspace:
        assert await workspace.find("p1@acme.com") == ()
        with pytest.raises(IncompleteRead, match="404"):
            await workspace.find("p1@acme.com")


async def test_lookup_does_not_believe_a_server_that_ignores_the_filter() -> None:
    rows = [{"id": str(number), "userName": f"p{number}@acme.com"} for number in range(10)]

    async with serving(lambda _: {"totalResults": 30, "Resources": rows}) as workspace:
        assert [member.scim_id for member in await workspace.find("P3@ACME.com")] == ["3"]
        with pytest.raises(IncompleteRead, match="does not filter"):
            await workspace.find("nobody@acme.com")


async def test_lookup_does_not_count_a_row_without_an_id_as_no_match() -> None:
    async with serving(lambda _: {"totalResults": 1, "Resources": [{"userName": "p1@acme.com"}]}) as workspace:
        with pytest.raises(IncompleteRead):
            await workspace.find("p1@acme.com")


async def test_lookup_is_encoded_whole() -> None:
    scene = a_scene()

    async with scene.client() as workspace:
        await workspace.find('a+b"\\ &#%é@acme.com')

    assert (
        b"filter=userName%20eq%20%22a%2Bb%5C%22%5C%5C%20%26%23%25%C3%A9%40acme.com%22&" in scene.wire.sent[0].url.query
    )


# Check.


async def checked(workspace: ScimClient) -> dict[CheckName, Finding]:
    """Return the worst finding of each check."""
    order = ["ok", "warning", "error"]
    found = sorted(await workspace.check(lambda: "no-such-guid"), key=lambda each: order.index(each.level))
    return {finding.name: finding for finding in found}


async def test_check_of_an_unreachable_workspace_has_a_remedy() -> None:
    scene = a_scene()
    scene.wire.fault("", ALWAYS, unreachable)

    async with scene.client() as workspace:
        (finding,) = await workspace.check()

    assert (finding.level, finding.name) == ("error", CheckName.TOKEN)
    assert "can't be reached" in finding.message
    assert finding.remedy


async def test_check_of_refused_tokens_is_an_error_for_each() -> None:
    scene = a_scene()

    async with scene.client("wrong", "also-wrong") as workspace:
        found = [finding for finding in await workspace.check() if finding.name is not CheckName.CLOCK_SKEW]

    assert [(finding.level, finding.name) for finding in found] == [("error", CheckName.TOKEN)] * 2


async def test_check_reads_only_and_shows_the_evidence_of_each_line() -> None:
    scene = a_scene(members=2)
    scene.space.admin_create("Gone@acme.com", "Gone", active=False)

    async with scene.client() as workspace:
        found = await checked(workspace)

    assert {finding.level for finding in found.values()} == {"ok"}
    assert "3 members" in found[CheckName.TOKEN].message
    assert found[CheckName.TOTAL].message == "each page shows the same total: 3 members"
    assert found[CheckName.INACTIVE_MEMBERS].message.startswith("inactive members are listed: the member ")
    assert found[CheckName.MEMBERS_WITHOUT_EMAIL].message == "each of the 3 members read has an email"
    assert "in capital and in small letters" in found[CheckName.FILTER_CASE].message
    assert {kind.split()[0] for kind in scene.wire.kinds()} <= {"GET", "HEAD"}
    assert {finding.area for finding in found.values()} == {Area.WORKSPACE}
    assert all(finding.subject.startswith("workspace latam") for finding in found.values())


async def test_check_reads_no_more_pages_than_it_needs() -> None:
    scene = a_scene(members=12, page_size=1)
    scene.space.admin_create("gone@acme.com", "Gone", active=False)

    async with scene.client() as workspace:
        found = await checked(workspace)

    assert scene.wire.kinds().count("GET list") == 2 + 10, "one for the token, one for the total, and ten pages"
    assert found[CheckName.PAGE_SIZE].message == (
        "a page holds 1 members where 1,000 are asked for: a listing takes 13 requests"
    )
    assert found[CheckName.INACTIVE_MEMBERS].message.startswith("the first 10 members are active; ")


async def test_check_counts_the_requests_of_the_pages_that_runs_ask_for() -> None:
    rows = [{"id": str(number), "userName": f"p{number}@acme.com", "active": False} for number in range(1000)]
    async with serving(lambda _: {"totalResults": 5_000, "Resources": rows}) as workspace:
        finding = (await checked(workspace))[CheckName.PAGE_SIZE]

    assert finding.message == "a page holds 1,000 members where 1,000 are asked for: a listing takes 50 requests"


async def test_check_says_that_probe_shows_whether_inactive_members_are_listed() -> None:
    scene = a_scene(members=2)

    async with scene.client() as workspace:
        found = await checked(workspace)

    assert found[CheckName.INACTIVE_MEMBERS].message.startswith("all 2 members are active; `pigment-sync probe`")


async def test_check_warns_of_a_listing_that_takes_too_many_requests() -> None:
    rows = [{"id": str(number), "userName": f"p{number}@acme.com", "active": True} for number in range(20)]
    async with serving(lambda _: {"totalResults": 5_000, "Resources": rows}) as workspace:
        finding = (await checked(workspace))[CheckName.PAGE_SIZE]

    assert finding.level == "warning"
    assert "a page holds 20 members where 1,000 are asked for: a listing takes 250 requests" in finding.message


async def test_check_warns_of_members_without_an_email_and_of_totals_that_differ() -> None:
    totals = iter(range(3, 99))
    rows = [{"id": "1", "userName": "p1@acme.com"}, {"id": "2", "userName": "root", "active": False}]
    async with serving(lambda _: {"totalResults": next(totals), "Resources": rows}) as workspace:
        found = await checked(workspace)

    assert found[CheckName.MEMBERS_WITHOUT_EMAIL].level == "warning"
    assert "1 of the 2 members read have no email" in found[CheckName.MEMBERS_WITHOUT_EMAIL].message
    assert (found[CheckName.TOTAL].level, found[CheckName.TOTAL].message) == (
        "warning",
        "the pages of one listing show different totals, or none: 5, 6.",
    )


async def test_check_warns_of_a_filter_that_minds_the_case() -> None:
    row = {"id": "1", "userName": "Ana@acme.com", "active": False}

    def page(request: httpx.Request) -> dict[str, Any]:
        wanted = request.url.params.get("filter", "")
        rows = [row] if not wanted or "Ana@acme.com" in wanted or "ana@acme.com" in wanted else []
        return {"totalResults": len(rows), "Resources": rows}

    async with serving(page) as workspace:
        found = await checked(workspace)

    assert found[CheckName.FILTER_CASE].level == "warning"
    assert "does not find the member 1 in capital letters" in found[CheckName.FILTER_CASE].message
    assert found[CheckName.UNKNOWN_NAME].level == "ok"


async def test_check_goes_on_where_large_pages_are_refused() -> None:
    scene = a_scene(members=2)

    async def refuse(request: httpx.Request, real: Answering) -> httpx.Response:
        is_large = request.url.params.get("count") == "1000"
        return httpx.Response(400, json={"status": "400"}) if is_large else await real(request)

    scene.wire.fault("GET list", ALWAYS, refuse)
    async with scene.client() as workspace:
        found = await checked(workspace)

    assert {finding.level for finding in found.values()} == {"ok"}


async def test_check_reports_a_lookup_that_fails() -> None:
    scene = a_scene(members=1)
    scene.wire.fault("GET find", ALWAYS, scim_error(400, "invalidFilter"))

    async with scene.client() as workspace:
        found = await checked(workspace)

    assert found[CheckName.UNKNOWN_NAME].level == found[CheckName.FILTER_CASE].level == "error"
    assert "400" in found[CheckName.UNKNOWN_NAME].message
    assert found[CheckName.TOTAL].level == "ok"


async def test_check_reports_a_server_that_ignores_the_filter() -> None:
    async with serving(
        lambda _: {"totalResults": 1, "Resources": [{"id": "1", "userName": "no-such-guid"}]}
    ) as workspace:
        assert (await checked(workspace))[CheckName.UNKNOWN_NAME].level == "error"


def serving(page: Callable[[httpx.Request], dict[str, Any]], **more: Any) -> Any:
    """Return a client of a server that answers each request with *page*."""
    scene = a_scene()

    async def fault(request: httpx.Request, real: Answering) -> httpx.Response:
        return httpx.Response(200, content=json.dumps(page(request)))

    scene.wire.fault("", ALWAYS, fault)
    return scene.client(**more)


def test_read_errors_are_all_of_one_kind() -> None:
    assert issubclass(CredentialsRefused, ReadError)
    assert issubclass(IncompleteRead, ReadError)


@pytest.mark.parametrize(
    "url", ["http://pigment.example/scim", "ftp://pigment.example", "https://", "https://u:p@x.example"]
)
def test_scim_url_that_would_show_the_token_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        ScimClient("latam", url, [lambda: "t"], httpx.AsyncClient())


async def test_scim_url_is_taken_verbatim_but_for_one_slash() -> None:
    scene = a_scene(members=1)
    async with httpx.AsyncClient(transport=scene.wire) as http:
        workspace = ScimClient("latam", f"{URL}/", [lambda: TOKENS[0]], http)
        await workspace.list_members()

    assert str(scene.wire.sent[0].url).startswith(f"{URL}/Users?")
