"""What real orgs answered (recorded by Okta for its own SDK) is read as it was meant. Runs where the recordings are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from connectors.base import Status
from connectors.http import ApiResponse
from connectors.okta.client import error_code
from connectors.okta.mapping import UserMapper
from connectors.okta.rate_limit import OktaRateLimiter
from connectors.okta.rows import USERS, RowReader, app_groups, user_from_json
from tests.contract.okta_org import FakeTime

RECORDINGS = Path(__file__).parents[3] / "shared" / "apis" / "specs" / "okta-recorded-samples.json"
SAMPLES: list[dict[str, Any]] = orjson.loads(RECORDINGS.read_bytes()) if RECORDINGS.exists() else []


def labelled(*starts: str) -> list[dict[str, Any]]:
    return [sample for sample in SAMPLES if sample["label"].startswith(starts)]


def answer(sample: dict[str, Any]) -> ApiResponse:
    headers = [
        (name, value)
        for name, values in sample["headers"].items()
        for value in (values if isinstance(values, list) else [values])
    ]
    url = httpx.URL(sample["request"]["uri"])
    return ApiResponse(sample["status"], httpx.Headers(headers), url, orjson.dumps(sample["body"]))


@pytest.mark.parametrize("sample", labelled("user-", "users-list", "group-users"))
def test_recorded_person_is_read_whole(sample: dict[str, Any]) -> None:
    body = sample["body"]
    for row in body if isinstance(body, list) else [body]:
        person = user_from_json(row)
        assert person.id.startswith("00u")
        assert not person.is_blank
        assert person.login.endswith("@example.com")
        assert person.profile.first_name
        assert UserMapper("okta-main").status_of(person.status) is not Status.UNKNOWN


@pytest.mark.parametrize("sample", labelled("users-list", "group-users"))
def test_recorded_page_of_people_is_as_documented_and_read_the_same_field_by_field(sample: dict[str, Any]) -> None:
    users = answer(sample).typed(USERS)
    assert users is not None
    assert RowReader().users(answer(sample)) == users
    assert [user_from_json(row) for row in sample["body"]] == users


@pytest.mark.parametrize("sample", labelled("app-users"))
def test_recorded_app_user_without_the_embedded_user_is_blank_and_directly_assigned(sample: dict[str, Any]) -> None:
    for row in RowReader().app_users(answer(sample)):
        assert row.user.id.startswith("00u")
        assert row.user.is_blank
        assert row.scope == "USER"


@pytest.mark.parametrize("sample", labelled("app-groups"))
def test_recorded_app_group_has_its_id_and_no_name(sample: dict[str, Any]) -> None:
    assert all(group.id.startswith("00g") and not group.name for group in app_groups(answer(sample)))


@pytest.mark.parametrize("sample", labelled("users-list", "app-", "group"))
def test_recorded_page_goes_on_only_where_it_names_a_next_one(sample: dict[str, Any]) -> None:
    onwards = answer(sample).link("next")
    assert (onwards is not None) == ('rel="next"' in str(sample["headers"]["link"]))


@pytest.mark.parametrize("sample", labelled("error-"))
def test_recorded_error_shows_its_code(sample: dict[str, Any]) -> None:
    assert error_code(answer(sample)) == sample["body"]["errorCode"] != ""


@pytest.mark.parametrize("sample", labelled("error-429"))
async def test_recorded_refusal_is_waited_out(sample: dict[str, Any]) -> None:
    time = FakeTime()
    pace = OktaRateLimiter(0.5, 300, time.timer, time.wall)
    refused = answer(sample)
    pace.on_response(refused.url, refused.status, refused.headers)
    await pace.acquire("GET", refused.url)
    assert time.naps == [1757607758 - 1757607710 + 1]
