"""Rules of faults are read whole or refused with the reason, and meet the requests that they name."""

from __future__ import annotations

from pathlib import Path

import httpx
import orjson
import pytest

from sandbox.faults.action import ACTIONS, System
from sandbox.faults.admin import faults_app
from sandbox.faults.parse import load_rules, parse_rules, rules_to_json
from sandbox.faults.registry import FaultRegistry
from sandbox.faults.rule import FaultError
from tests.contract.pretend_lists import PATH, a_book, a_client

DOCS = Path(__file__).parents[2] / "docs"


def test_example_file_has_one_of_each_fault_and_loads() -> None:
    rules = load_rules(DOCS / "faults.example.yaml")
    assert {rule.action.fault_name for rule in rules} == set(ACTIONS)


@pytest.mark.parametrize("word", sorted(ACTIONS))
def test_document_describes_each_fault(word: str) -> None:
    assert f"| `{word}` |" in (DOCS / "faults.md").read_text(encoding="utf-8")


def test_rules_are_shown_in_the_form_in_which_they_are_read() -> None:
    rules = load_rules(DOCS / "faults.example.yaml")
    assert parse_rules(orjson.loads(rules_to_json(rules))) == rules


def test_rules_are_read_from_json_too(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text('{"faults": [{"do": "html", "method": "get", "at": 2}]}', encoding="utf-8")
    (rule,) = load_rules(file)
    assert (rule.name, rule.method, rule.at) == ("fault-1", "GET", 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("html", "fault 1: an object is expected"),
        ({}, "`do` is one of .*html"),
        ({"do": ["html"]}, "`do` is one of"),
        ({"do": "explode"}, "`do` is one of .*not 'explode'"),
        ({"do": "html", "stauts": 500}, "fault-1.*no option 'stauts'; there are committed, status"),
        ({"do": "reset", "seconds": 1}, "there are none"),
        ({"do": "html", "status": "500"}, "status can't be '500'"),
        ({"do": "html", "status": True}, "status can't be True"),
        ({"do": "html", "status": 99}, "status is 200 to 599, not 99"),
        ({"do": "html", "committed": 1}, "committed can't be 1"),
        ({"do": "slow", "seconds": -1}, "seconds is 0 to 3600"),
        ({"do": "slow", "seconds": True}, "seconds can't be True"),
        ({"do": "truncated", "keep": 2}, "keep is 0 to 1"),
        ({"do": "drift", "kind": "sideways"}, "kind can't be 'sideways'"),
        ({"do": "status", "headers": {"Retry-After": 2}}, "headers can't be"),
        ({"do": "status", "body": 3}, "body can't be 3"),
        ({"do": "html", "system": "unknown"}, "system is one of okta, entra, onelogin, pigment, not 'unknown'"),
        ({"do": "html", "system": ["okta"]}, "system is one of"),
        ({"do": "html", "at": 0}, "at counts from 1"),
        ({"do": "html", "times": -1}, "times counts from 1"),
        ({"do": "html", "at": "2"}, "at can't be '2'"),
        ({"do": "html", "at": 2, "every": 3}, "exclude each other"),
        ({"do": "html", "path": 3}, "path can't be 3"),
        ({"do": "dropped", "system": "okta"}, "okta has no dropped; pigment have"),
        ({"do": "foreign-link", "system": "pigment"}, "pigment has no foreign-link"),
        ({"do": "wrong-total", "system": "okta"}, "okta has no wrong-total"),
        ({"name": "mine", "do": "html", "statsu": 1}, r"fault 1 \(mine\)"),
    ],
)
def test_a_rule_that_can_not_be_is_refused_with_the_reason(row: object, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        parse_rules({"faults": [row]})


@pytest.mark.parametrize("document", [None, [], {}, {"faults": {}}, {"faults": [], "more": 1}])
def test_a_document_that_is_not_a_list_of_faults_is_refused(document: object) -> None:
    with pytest.raises(FaultError, match="a list named `faults`"):
        parse_rules(document)


def test_two_faults_of_one_name_are_refused() -> None:
    with pytest.raises(FaultError, match="two faults are named 'x'"):
        parse_rules({"faults": [{"name": "x", "do": "html"}, {"name": "x", "do": "reset"}]})


@pytest.mark.parametrize(("text", "message"), [("faults: [", "is not YAML"), ("faults: 3", "a list named `faults`")])
def test_a_file_that_can_not_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FaultError, match=f"bad.yaml.*{message}"):
        load_rules(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"none.yaml can't be read: No such file"):
        load_rules(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("which", "failed"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"at": 2}, [2]),
        ({"every": 3}, [3, 6]),
        ({"start": 4}, [4, 5, 6]),
        ({"times": 2}, [1, 2]),
        ({"start": 3, "times": 2}, [3, 4]),
        ({"every": 2, "times": 1}, [2]),
    ],
)
async def test_a_rule_meets_the_requests_that_it_counts(which: dict[str, object], failed: list[int]) -> None:
    book = a_book({"name": "x", "do": "status", **which})
    async with a_client(System.OKTA, book=book) as client:
        statuses = [(await client.get(PATH[System.OKTA])).status_code for _ in range(6)]
    assert [number for number, status in enumerate(statuses, 1) if status == 500] == failed
    assert len(book.fired) == len(failed)
    assert {(fired.rule, fired.system, fired.method) for fired in book.fired} == {("x", System.OKTA, "GET")}
    assert {fired.path for fired in book.fired} == {"/api/v1/apps/0oa1/users"}


@pytest.mark.parametrize(
    ("match", "applies"),
    [
        ({"system": "okta"}, True),
        ({"system": "entra"}, False),
        ({"method": "get"}, True),
        ({"method": "POST"}, False),
        ({"path": "/api/*/users"}, True),
        ({"path": "/api/*/groups"}, False),
        ({"query": "*after=2*"}, True),
        ({"query": "*limit=9*"}, False),
        ({"query": '*name eq "x"*'}, True),
    ],
)
async def test_a_rule_counts_only_what_it_names(match: dict[str, object], applies: bool) -> None:
    async with a_client(System.OKTA, {"do": "status", **match}) as client:
        answer = await client.get("/api/v1/users", params={"filter": 'name eq "x"', "after": "2"})
    assert (answer.status_code == 500) is applies


async def test_rules_of_one_book_count_over_all_systems_that_share_it() -> None:
    book = a_book({"do": "status", "at": 2})
    async with a_client(System.OKTA, book=book) as okta, a_client(System.ENTRA, book=book) as entra:
        assert (await okta.get(PATH[System.OKTA])).status_code == 200
        assert (await entra.get(PATH[System.ENTRA])).status_code == 500


async def test_admin_shows_sets_and_clears_the_faults_of_a_running_sandbox() -> None:
    book = FaultRegistry()
    admin = httpx.AsyncClient(transport=httpx.ASGITransport(faults_app(book)), base_url="http://127.0.0.1")
    async with admin, a_client(System.OKTA, book=book) as okta:
        assert (await admin.get("/faults")).json() == {"faults": [], "fired": []}
        put = await admin.put("/faults", json={"faults": [{"name": "x", "do": "html", "system": "okta"}]})
        assert put.json()["faults"][0]["name"] == "x"
        assert (await okta.get(PATH[System.OKTA])).status_code == 502
        fired = {"rule": "x", "system": "okta", "method": "GET", "path": "/api/v1/apps/0oa1/users"}
        assert (await admin.get("/faults")).json()["fired"] == [fired]
        assert (await admin.delete("/faults")).json() == {"faults": [], "fired": []}
        assert (await okta.get(PATH[System.OKTA])).status_code == 200


@pytest.mark.parametrize("body", [b"{", b'{"faults": [{"do": "explode"}]}'])
async def test_admin_refuses_what_can_not_be_and_keeps_what_is(body: bytes) -> None:
    book = a_book({"name": "x", "do": "html"})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(faults_app(book)), base_url="http://127.0.0.1") as admin:
        answer = await admin.put("/faults", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert [rule.name for rule in book.rules] == ["x"]
