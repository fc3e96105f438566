"""Following the pages of Okta's SDK: what it returns, loses, repeats or refuses. The SDK's client is a fake."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from agent.compare.answers import Answers, ReaderFailed
from agent.compare.okta_sdk_process import SdkReader

BASE = "https://acme.okta.com/api/v1/x"


class Strict(BaseModel):
    status: int


class NoAnswers(Answers):
    """Keeps what would have been written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, dict[str, object]]] = []

    def write(self, kind: str, **fields: object) -> None:
        self.written.append((kind, fields))


class Lists:
    """The SDK's client and its HTTP client in one: answers each list page by page."""

    def __init__(self) -> None:
        self.people: list[list[Any]] = [[]]
        self.groups: list[list[Any]] = [[]]
        self.members: dict[str, list[list[Any]]] = {}
        self.links: tuple[str, ...] = ()
        self.failure = ""
        self.fails: Callable[[int], Any] | None = None
        self.link: Callable[[int], tuple[str, ...]] = lambda page: (
            f'<{BASE}?limit=2>; rel="self"',
            f'<{BASE}?after=c{page}&limit=2>; rel="next"',
        )

    async def list_application_users(self, _app: str, after: str | None, **_options: object) -> Any:
        return self._page(self.people, after)

    async def list_application_group_assignments(self, _app: str, after: str | None, **_options: object) -> Any:
        return self._page(self.groups, after, may_fail=False)

    async def list_group_users(self, group: str, after: str | None, **_options: object) -> Any:
        return self._page(self.members[group], after, may_fail=False)

    def _page(self, pages: list[list[Any]], after: str | None, *, may_fail: bool = True) -> Any:
        number = int(after[1:]) if after else 0
        self.failure, self.links = "", ()
        if may_fail and self.fails is not None and (failed := self.fails(number)) is not None:
            return failed
        self.links = self.link(number + 1) if number + 1 < len(pages) else ()
        return pages[number], SimpleNamespace(status_code=200), None


def row(key: str | None, scope: str = "GROUP", link: str = "", status: str = "ACTIVE") -> Any:
    user = {"status": status, "profile": {"login": f"{key}@acme.com", "displayName": f"N {key}"}}
    group = SimpleNamespace(href=f"{BASE}/groups/{link}") if link else None
    return SimpleNamespace(id=key, scope=scope, embedded={"user": user}, links=SimpleNamespace(group=group))


def group(key: str, name: str) -> Any:
    return SimpleNamespace(id=key, embedded={"group": {"profile": {"name": name}}})


def member(key: str) -> Any:
    return SimpleNamespace(id=key, to_dict=lambda: {"id": key, "status": "ACTIVE", "profile": {"login": "m@acme.com"}})


async def read(lists: Lists, *wanted: str) -> dict[Any, dict[str, object]]:
    found = await SdkReader(lists, lists, NoAnswers()).read_source("0oa1", list(wanted))
    return {each["id"]: each for each in found}


async def test_every_page_is_read_and_people_have_their_groups() -> None:
    lists = Lists()
    lists.people = [[row("1"), row("2", "USER")], [row("3", link="b")], [row("4", link="other")]]
    lists.groups = [[group("a", "A")], [group("b", "B")]]
    lists.members = {"a": [[member("1")], [member("5")]], "b": [[member("1")]]}

    found = await read(lists)

    assert {key: each.get("groups") for key, each in found.items()} == {
        "1": ["a", "b"],
        "2": None,
        "3": ["b"],
        "4": None,
        "5": ["a"],
    }
    assert found["1"]["display_name"] == "N 1"
    assert (found["2"]["individual"], found["5"]["login"]) == (True, "m@acme.com")


async def test_people_of_groups_that_do_not_count_are_not_of_the_source() -> None:
    lists = Lists()
    lists.people = [[row("1"), row("2", link="b"), row("3", "USER", link="b")]]
    lists.groups = [[group("a", "A"), group("b", "B")]]
    lists.members = {"a": [[member("1")]]}

    assert set(await read(lists, "A")) == {"1", "3"}
    assert set(await read(lists, "a")) == {"1", "3"}


def raised(error: Exception) -> Callable[[int], Any]:
    def fail(_page: int) -> Any:
        raise error

    return fail


def refused_by_models() -> Exception:
    try:
        Strict.model_validate({"status": "ana@acme.com"})
    except ValidationError as error:
        return error
    raise AssertionError("it is refused")


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (
            raised(AttributeError("status")),
            "page 1 of the people of application 0oa1 could not be read: the SDK reports",
        ),
        (raised(refused_by_models()), "a record has an unexpected `status (int_parsing)`."),
        (lambda _: (None, None, OSError()), "could not be read: the SDK reports OSError."),
        (lambda _: (None, SimpleNamespace(status_code=204), None), "HTTP 204 without rows."),
        (lambda _: ([], SimpleNamespace(status_code=206), None), "HTTP 206 without rows."),
        (
            lambda _: (None, SimpleNamespace(), SimpleNamespace(error_code="E0000047", error_summary="Slow.")),
            "E0000047 Slow.",
        ),
        (
            lambda _: ([row(None)], SimpleNamespace(status_code=200), None),
            "page 1 of the people of application 0oa1 has a row",
        ),
        (lambda page: None if page == 0 else (None, None, OSError()), "page 2 of the people"),
    ],
    ids=["attribute", "odd record", "error", "no content", "partial", "okta", "no id", "second page"],
)
async def test_page_that_failed_ends_the_reading(fails: Callable[[int], Any], message: str) -> None:
    lists = Lists()
    lists.people = [[row("1")], [row("2")]]
    lists.fails = fails

    with pytest.raises(ReaderFailed) as ended:
        await read(lists)

    assert message in ended.value.message
    assert "ana@acme.com" not in ended.value.message
    assert ended.value.hint


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (lambda _: (f'<{BASE}?after=c0>; rel="next"',), "leads back to a page that was read."),
        (lambda _: (f'<{BASE}?limit=2>; rel="next"',), "a next link has no cursor."),
    ],
)
async def test_next_link_that_leads_nowhere_ends_the_reading(
    link: Callable[[int], tuple[str, ...]], message: str
) -> None:
    lists = Lists()
    lists.people = [[row("1")], [row("2")], [row("3")]]
    lists.link = link

    with pytest.raises(ReaderFailed, match=message):
        await read(lists)


async def test_links_in_another_order_are_followed_too() -> None:
    lists = Lists()
    lists.people = [[row("1", "USER")], [row("2", "USER")]]
    lists.link = lambda page: (f'<{BASE}?after=c{page}>; rel="next"', f'<{BASE}>; rel="self"')

    assert set(await read(lists)) == {"1", "2"}
