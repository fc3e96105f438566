"""The connector reads the samples of Graph's own documentation. Collects nothing where that is not available."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from connectors.base import CredentialsRefused, IncompleteRead, ReadError, Source, Status
from connectors.entra.mapping import AppAssignment, assignment_from_json, group_member_from_json, user_from_json
from tests.contract.entra_tenant import ASSIGNED, MEMBERS, SOURCE, THE_APP, company, sign_in

SAMPLES = Path(__file__).parents[3] / "shared" / "apis" / "specs" / "graph-doc-samples.json"
DOCUMENTS: list[dict[str, Any]] = orjson.loads(SAMPLES.read_bytes()) if SAMPLES.exists() else []


def labelled(words: str) -> list[dict[str, Any]]:
    return [each for each in DOCUMENTS if each["label"].startswith(words)]


def rows(sample: Mapping[str, Any]) -> list[Any]:
    return list(sample["body"]["value"])


@pytest.mark.parametrize("sample", labelled("appRoleAssignedTo"))
def test_sample_of_assignments_shows_each_principal(sample: dict[str, Any]) -> None:
    found = [assignment_from_json(row) for row in rows(sample)]
    assert {each.kind for each in found} == {"user", "group", "serviceprincipal"}
    assert AppAssignment("cdb555e3-b33e-4fd5-a427-17fadacbdfa7", "user", "MOD Administrator") in found
    assert all(each.id for each in found)


@pytest.mark.parametrize("sample", labelled("members page"))
def test_sample_of_members_distinguishes_people_from_others(sample: dict[str, Any]) -> None:
    found = [group_member_from_json(row) for row in rows(sample)]
    assert {"user", "group"} <= {each.kind for each in found}
    people = [each.user for each in found if each.kind == "user"]
    assert all(each.id and each.login and each.is_enabled is not None for each in people)
    assert any(each.is_guest for each in people)


@pytest.mark.parametrize("sample", labelled("members without User.Read.All"))
def test_sample_of_limited_rows_is_blank(sample: dict[str, Any]) -> None:
    assert all(user_from_json(row).is_blank for row in rows(sample))


@pytest.mark.parametrize("sample", labelled("members without User.Read.All"))
async def test_sample_of_limited_rows_ends_the_read(sample: dict[str, Any]) -> None:
    tenant = company()
    tenant.at[MEMBERS] = [lambda _: httpx.Response(200, json=sample["body"])]
    with sign_in(), pytest.raises(IncompleteRead, match="none of them shows"):
        await tenant.connector().read(SOURCE)


@pytest.mark.parametrize("sample", labelled("error"))
async def test_sample_of_an_error_ends_the_read_with_its_message(sample: dict[str, Any]) -> None:
    tenant = company()
    answer = httpx.Response(sample["status"], json=sample["body"], headers=sample.get("headers"))
    tenant.at[THE_APP] = [lambda _: answer] * 99
    with sign_in(), pytest.raises(ReadError) as raised:
        await tenant.connector().read(SOURCE)
    assert sample["body"]["error"]["message"][:60] in raised.value.message
    assert isinstance(raised.value, CredentialsRefused) == (sample["status"] in {401, 403})


@pytest.mark.parametrize("sample", labelled("deletedItems"))
async def test_sample_of_a_deleted_person_is_deleted(sample: dict[str, Any]) -> None:
    tenant = company()
    (deleted,) = rows(sample)
    tenant.deleted[deleted["id"]] = deleted
    with sign_in():
        assert (await tenant.connector().lookup(deleted["id"], SOURCE)).status is Status.DELETED


@pytest.mark.parametrize("sample", labelled("servicePrincipal by appId"))
async def test_sample_of_an_application_is_read(sample: dict[str, Any]) -> None:
    app = sample["body"]["id"]
    tenant = company()
    tenant.at[THE_APP.replace("sp-pigment", app)] = [lambda _: httpx.Response(200, json=sample["body"])]
    tenant.at[ASSIGNED.replace("sp-pigment", app)] = [lambda _: httpx.Response(200, json={"value": tenant.assigned})]
    with sign_in():
        snapshot = await tenant.connector().read(Source("entra-eu", app))
    assert snapshot.app_name == sample["body"]["displayName"]
