"""The size of the pages of a listing: asked for large, reduced where it is refused, and remembered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from agent.errors import StateError
from agent.model.page_size import LearnedPageSize
from agent.scim.page_size import NegotiatedPageSize
from agent.store.state import SqlState
from connectors.base import IncompleteRead
from tests.contract.scim_faults import ALWAYS, Answering, Fault, Scene, a_scene, answer, edited, scim_error
from tests.memory_state import MemoryState
from tests.state_samples import Clock

TARGET = "https://pigment.example/latam/scim/v2"
NOW = datetime(2026, 11, 27, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW


def negotiated(scene: Scene, state: MemoryState | None = None) -> NegotiatedPageSize:
    return NegotiatedPageSize("latam", TARGET, state or MemoryState(lambda: NOW), FixedClock(), scene.warn)


def counts(scene: Scene) -> list[str]:
    return [request.url.params["count"] for request in scene.wire.sent if "filter" not in request.url.params]


async def list_ids(scene: Scene, state: MemoryState | None = None, **more: Any) -> set[str]:
    async with scene.client(page_size=negotiated(scene, state), **more) as workspace:
        return {member.scim_id for member in (await workspace.list_members()).members}


async def test_listing_asks_for_a_thousand_and_goes_on_with_what_the_server_gives() -> None:
    scene, state = a_scene(members=250, page_size=100), MemoryState(lambda: NOW)

    assert len(await list_ids(scene, state)) == 250

    assert sorted(counts(scene)) == ["100", "1000", "1000"], "the last page is asked for whole"
    assert state.page_sizes == {}


async def test_listing_of_a_server_with_large_pages_takes_one_request() -> None:
    scene = a_scene(members=250, page_size=1000)

    assert len(await list_ids(scene)) == 250

    assert counts(scene) == ["1000"]


@pytest.mark.parametrize("refusal", ["400", "empty"])
async def test_refused_size_is_reduced_once_and_remembered(refusal: str) -> None:
    scene, state = a_scene(members=250, largest_count=100 if refusal == "400" else 0), MemoryState(lambda: NOW)
    if refusal == "empty":
        scene.wire.fault("GET list", 1, edited(lambda document: document.pop("Resources")))

    assert len(await list_ids(scene, state)) == 250
    assert counts(scene)[:2] == ["1000", "100"]
    assert state.page_sizes == {TARGET: LearnedPageSize(100, NOW)}

    scene.wire.sent.clear()
    assert len(await list_ids(scene, state)) == 250
    assert set(counts(scene)) == {"100"}


@pytest.mark.parametrize(("days", "first"), [(29, "100"), (30, "1000"), (-1, "1000")])
async def test_what_was_learned_is_tried_again_after_thirty_days(days: int, first: str) -> None:
    scene, state = a_scene(members=1), MemoryState(lambda: NOW)
    state.page_sizes[TARGET] = LearnedPageSize(100, NOW - timedelta(days=days))

    assert len(await list_ids(scene, state)) == 1

    assert counts(scene) == [first]


async def test_size_refused_in_the_middle_begins_the_listing_again() -> None:
    scene, state = a_scene(members=250, page_size=100), MemoryState(lambda: NOW)

    async def strict_from_now_on(request: httpx.Request, real: Answering) -> httpx.Response:
        scene.space.options = a_scene(largest_count=100).space.options
        return await real(request)

    scene.wire.fault("GET list", 2, strict_from_now_on)

    assert len(await list_ids(scene, state)) == 250
    assert state.page_sizes == {TARGET: LearnedPageSize(100, NOW)}


async def test_refusal_for_another_reason_is_the_error_and_teaches_nothing() -> None:
    scene, state = a_scene(members=3), MemoryState(lambda: NOW)
    scene.wire.fault("GET list", ALWAYS, scim_error(400, "invalidValue", "SCIM is being set up"))

    with pytest.raises(IncompleteRead, match="SCIM is being set up"):
        await list_ids(scene, state)

    assert counts(scene) == ["1000", "100"]
    assert state.page_sizes == {}


async def test_configured_size_is_never_changed() -> None:
    scene = a_scene(members=3, largest_count=100)

    async with scene.client(page_size=500) as workspace:
        with pytest.raises(IncompleteRead, match="answered 400"):
            await workspace.list_members()

    assert counts(scene) == ["500"]


def _smaller_from_the_second_page(scene: Scene) -> Fault:
    async def fault(request: httpx.Request, real: Answering) -> httpx.Response:
        response = await real(request)
        scene.space.options = a_scene(page_size=7).space.options
        return response

    return fault


@pytest.mark.parametrize("total_results", ["check", "ignore"])
async def test_pages_that_become_smaller_midway_are_continued_by_the_rows_received(total_results: str) -> None:
    scene = a_scene(members=120, page_size=50)
    scene.wire.fault("GET list", 1, _smaller_from_the_second_page(scene))

    assert len(await list_ids(scene, total_results=total_results)) == 120


@pytest.mark.parametrize("lie", [0, 1, 1000, -5, "many", None])
async def test_items_per_page_decides_nothing(lie: object) -> None:
    scene = a_scene(members=120, page_size=50)
    scene.wire.fault("GET list", ALWAYS, edited(lambda document: document.update(itemsPerPage=lie, startIndex=lie)))

    assert len(await list_ids(scene)) == 120
    assert len(scene.wire.sent) == 3


async def test_page_with_more_rows_than_asked_for_counts_each_member_once() -> None:
    scene = a_scene(members=25, page_size=10)

    async def generous(request: httpx.Request, real: Answering) -> httpx.Response:
        scene.space.options = a_scene(page_size=1000).space.options
        url = request.url.copy_set_param("count", "13")
        return await real(httpx.Request("GET", url, headers=request.headers))

    scene.wire.fault("GET list", range(2, 9), generous)

    assert len(await list_ids(scene)) == 25


async def test_total_that_changes_between_sizes_is_not_mixed_into_one_listing() -> None:
    scene = a_scene(members=150, largest_count=100)

    async def one_left(request: httpx.Request, real: Answering) -> httpx.Response:
        response = await real(request)
        scene.space.admin_create("late@acme.com", "Late")
        return response

    scene.wire.fault("GET list", 1, one_left)

    assert len(await list_ids(scene)) == 151


async def test_cursors_are_followed_with_the_reduced_size() -> None:
    scene, state = a_scene(members=30, largest_count=100, page_size=10, next_cursor=True), MemoryState(lambda: NOW)

    assert len(await list_ids(scene, state)) == 30
    assert counts(scene) == ["1000", "100", "100", "100"]


async def test_lookup_asks_for_pages_that_every_server_accepts() -> None:
    scene = a_scene(members=3, largest_count=100)

    async with scene.client(page_size=negotiated(scene)) as workspace:
        assert len(await workspace.find("p2@acme.com")) == 1


async def test_listing_is_complete_without_a_state_that_can_record_the_size() -> None:
    class ReadOnly(MemoryState):
        async def record_page_size(self, _target: str, _learned: LearnedPageSize | None) -> None:
            raise StateError("The state is read-only.", "Set it to the primary.")

    scene = a_scene(members=3, largest_count=100)

    assert len(await list_ids(scene, ReadOnly(lambda: NOW))) == 3
    assert [each["event"] for each in scene.warnings] == ["page-size.not-recorded"]


@pytest.mark.parametrize("refused", [True, False])
async def test_check_tries_the_large_page_again(refused: bool) -> None:
    scene, state = a_scene(members=150, largest_count=100 if refused else 0, page_size=100), MemoryState(lambda: NOW)
    await state.record_page_size(TARGET, None if refused else LearnedPageSize(100, NOW))

    async with scene.client(page_size=negotiated(scene, state)) as workspace:
        found = await workspace.check()

    assert state.page_sizes == ({TARGET: LearnedPageSize(100, NOW)} if refused else {})
    messages = [each.message for each in found if "a page holds" in each.message]
    asked = "100 are asked for, because pages of 1,000 are refused" if refused else "1,000 are asked for"
    assert messages == [f"a page holds 100 members where {asked}: a listing takes 2 requests"]


async def test_check_of_an_unreachable_listing_teaches_nothing() -> None:
    scene, state = a_scene(members=3), MemoryState(lambda: NOW)
    state.page_sizes[TARGET] = LearnedPageSize(100, NOW)
    scene.wire.fault("GET list", range(2, 1000), answer(404))

    async with scene.client(page_size=negotiated(scene, state)) as workspace:
        await workspace.check()

    assert state.page_sizes == {TARGET: LearnedPageSize(100, NOW)}


async def test_state_keeps_one_size_for_each_workspace(state: MemoryState | SqlState, clock: Clock) -> None:
    first, second = LearnedPageSize(100, clock.now()), LearnedPageSize(50, clock.now())
    await state.record_page_size("a", first)
    await state.record_page_size("b", first)
    await state.record_page_size("a", second)
    await state.record_page_size("b", None)

    assert await state.load_page_size("a") == second
    assert await state.load_page_size("b") is None
