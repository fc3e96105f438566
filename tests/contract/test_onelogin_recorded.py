"""What OneLogin's own documents show as answers is read as it was meant. Runs where the samples are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from connectors.base import Status
from connectors.http.redact import error_excerpt
from connectors.onelogin.mapping import UserMapper, membership_from_json, row_id, row_name, user_from_json
from tests.contract.onelogin_account import ANA, SOURCE, TOKEN_PATH, company

SAMPLES_FILE = Path(__file__).parents[3] / "shared" / "apis" / "specs" / "onelogin-doc-samples.json"
SAMPLES: list[dict[str, Any]] = orjson.loads(SAMPLES_FILE.read_bytes()) if SAMPLES_FILE.exists() else []


def labelled(*labels: str) -> list[dict[str, Any]]:
    return [sample for sample in SAMPLES if sample["label"] in labels]


@pytest.mark.parametrize("sample", labelled("users"))
def test_documented_user_is_read_whole(sample: dict[str, Any]) -> None:
    (row,) = map(user_from_json, sample["body"])
    assert (row.id, row.email, row.display_name) == ("56781966", "mike.tester@example.com", "Mike Tester")
    assert UserMapper("onelogin-apac").status_of(row) is Status.ACTIVE


@pytest.mark.parametrize("sample", labelled("app users"))
def test_documented_user_of_an_application_shows_no_status(sample: dict[str, Any]) -> None:
    rows = [user_from_json(row) for row in sample["body"]]
    assert [(row.id, row.status, row.state) for row in rows] == [("29260307", None, None), ("35665909", None, None)]
    assert all(row.email and row.display_name for row in rows)


@pytest.mark.parametrize("sample", labelled("role users"))
def test_documented_row_of_a_role_is_a_member_of_it(sample: dict[str, Any]) -> None:
    (row,) = map(membership_from_json, sample["body"])
    assert (row.id, row.is_assigned) == ("345", True)


@pytest.mark.parametrize("sample", labelled("roles of an app"))
def test_documented_role_has_id_and_name(sample: dict[str, Any]) -> None:
    assert [(row_id(row), row_name(row)) for row in sample["body"]] == [("12", "Sales")]


@pytest.mark.parametrize("sample", labelled("error 404 v2"))
async def test_documented_not_found_is_a_deleted_person(sample: dict[str, Any]) -> None:
    account = company()
    account.at[f"/api/2/users/{ANA}"] = [lambda _: httpx.Response(404, json=sample["body"])]
    assert (await account.connector().lookup(ANA, SOURCE)).status is Status.DELETED


@pytest.mark.parametrize("sample", labelled("token ok (v2)"))
async def test_documented_token_is_used(sample: dict[str, Any]) -> None:
    account = company()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN_PATH:
            return httpx.Response(200, json=sample["body"])
        assert request.headers["authorization"] == f"bearer {sample['body']['access_token']}"
        request.headers["authorization"] = "bearer abcdef"
        return account(request)

    assert len((await account.connector(transport=answer).read(SOURCE)).people) == 4


@pytest.mark.parametrize("sample", labelled("token 401", "error 401 v2", "error 404 v2", "error 422 v2"))
def test_documented_error_is_quoted_by_its_message(sample: dict[str, Any]) -> None:
    assert error_excerpt(orjson.dumps(sample["body"]), {}) == f': "{sample["body"]["message"]}"'
