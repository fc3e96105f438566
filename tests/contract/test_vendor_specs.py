"""The answers of the pretend Okta and OneLogin match the vendors' own documents.

The documents are not part of the project: without them in the directory next to it there are no cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import fields as fields_of

import httpx
import pytest

from sandbox.okta import RateLimits
from tests.contract.pretend_directories import PretendOkta, PretendOneLogin
from tests.contract.vendor_spec import IS_THERE, complaints, paths, sample


@dataclass(frozen=True)
class Case:
    """One request. *path* is the document's; braces in it are filled with ids of the company, or with *unknown*."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    about: str = "usual"

    def __str__(self) -> str:
        return f"{self.path} {self.status} {self.about} {'&'.join(f'{k}={v}' for k, v in self.query.items())}"


OKTA = [
    Case("/api/v1/apps/{appId}"),
    Case("/api/v1/apps/{appId}/users"),
    Case("/api/v1/apps/{appId}/users", {"limit": "500"}),
    Case("/api/v1/apps/{appId}/users", {"limit": "500", "expand": "user"}),
    Case("/api/v1/apps/{appId}/users", {"after": "rubbish"}, 400),
    Case("/api/v1/apps/{appId}/groups"),
    Case("/api/v1/apps/{appId}/groups", {"limit": "200", "expand": "group"}),
    Case("/api/v1/groups"),
    Case("/api/v1/groups", {"expand": "stats"}),
    Case("/api/v1/groups/{groupId}/users", {"limit": "200"}),
    Case("/api/v1/users"),
    Case("/api/v1/users", {"filter": 'status eq "DEPROVISIONED"'}),
    Case("/api/v1/users", {"search": "rubbish"}, 400),
    Case("/api/v1/users/{id}"),
    Case("/api/v1/users/{id}/groups"),
    *[
        Case(path, {}, status, about)
        for path in ("/api/v1/apps/{appId}/users", "/api/v1/groups/{groupId}/users", "/api/v1/users/{id}")
        for status, about in ((404, "unknown"), (401, "stranger"), (403, "scope"), (429, "busy"))
    ],
]
ONELOGIN = [
    Case("/api/2/apps"),
    Case("/api/2/apps/{app_id}"),
    Case("/api/2/apps/{app_id}/users", {"limit": "1000"}),
    Case("/api/2/roles"),
    Case("/api/2/roles", {"app_id": "{app_id}", "fields": "id,name"}),
    Case("/api/2/roles/{role_id}"),
    Case("/api/2/roles/{role_id}", {}, 404, "unknown"),
    Case("/api/2/roles/{role_id}/users", {"limit": "100"}),
    Case("/api/2/roles/{role_id}/users", {"limit": "100", "include_unassigned": "true"}),
    Case("/api/2/roles/{role_id}/apps"),
    Case("/api/2/users", {"limit": "100"}),
    Case("/api/2/users", {"limit": "0"}, 422),
    Case("/api/2/users", {"cursor": "rubbish", "page": "2"}, 400),
    Case("/api/2/users/{user_id}"),
    Case("/auth/rate_limit"),
    Case("/api/1/events", {"event_type_id": "14,21", "limit": "50", "sort": "+id"}),
    Case("/api/1/events", {"limit": "1", "sort": "-id", "since": "2026-11-22T00:00:00.000Z"}),
    Case("/api/1/events", {"after_cursor": "rubbish"}, 400),
    Case("/api/1/events", {}, 401, "stranger"),
    Case("/api/1/events", {}, 429, "busy"),
    *[
        Case(path, {}, status, about)
        for path in ("/api/2/apps/{app_id}/users", "/api/2/roles/{role_id}/users", "/api/2/users/{user_id}")
        for status, about in ((404, "unknown"), (401, "stranger"), (429, "busy"))
    ],
]
NOT_PRETENDED = {"okta": {"/api/v1/logs"}, "onelogin": {"/api/1/groups"}}


async def okta_answer(case: Case) -> httpx.Response:
    okta = PretendOkta()
    ids = {"appId": okta.app.id, "groupId": okta.app.groups[0], "id": next(iter(okta.company.okta.people))}
    if case.about == "scope":
        other = "okta.apps.read" if case.path.startswith("/api/v1/users") else "okta.users.read"
        okta.http.headers.update(await okta.granted(other))
    if case.about == "stranger":
        okta.http.headers["Authorization"] = "SSWS stranger"
    if case.about == "busy":
        okta.org.set_rate_limits(RateLimits(*[0] * len(fields_of(RateLimits))))
    path = case.path.format(**(dict.fromkeys(ids, "unknown") if case.about == "unknown" else ids))
    return await okta.http.get(path, params=case.query)


async def onelogin_answer(case: Case) -> httpx.Response:
    onelogin = PretendOneLogin()
    people = onelogin.company.onelogin.people
    ids = {"app_id": onelogin.app.id, "role_id": onelogin.app.groups[0], "user_id": next(iter(people))}
    if case.about != "stranger":
        await onelogin.sign_in()
    if case.about == "busy":
        onelogin.account.quota.limit = onelogin.account.events_quota.limit = 0
    # The events show what has happened.
    for person in list(people.values())[:2]:
        onelogin.company.rename(person, given="Ana")
    path = case.path.format(**(dict.fromkeys(ids, "1") if case.about == "unknown" else ids))
    query = {name: value.format(**ids) for name, value in case.query.items()}
    return await onelogin.http.get(path, params=query)


@pytest.mark.parametrize("case", OKTA if IS_THERE else [], ids=str)
async def test_okta_answers_as_documented(case: Case) -> None:
    answer = await okta_answer(case)

    assert answer.status_code == case.status
    assert complaints("okta", case.path, "get", case.status, answer.json()) == []
    assert case.status != 200 or answer.json()


@pytest.mark.parametrize("case", ONELOGIN if IS_THERE else [], ids=str)
async def test_onelogin_answers_as_documented(case: Case) -> None:
    answer = await onelogin_answer(case)

    assert answer.status_code == case.status
    body = without_nulls(answer.json()) if case.path == "/api/1/events" else answer.json()
    assert complaints("onelogin", case.path, "get", case.status, body) == []
    assert case.status != 200 or answer.json()


@pytest.mark.parametrize(("status", "secret"), [(200, "secret"), (401, "wrong")] if IS_THERE else [])
async def test_onelogin_gives_tokens_as_documented(status: int, secret: str) -> None:
    answer = await PretendOneLogin().token(secret=secret)

    assert answer.status_code == status
    assert complaints("onelogin", "/auth/oauth2/v2/token", "post", status, answer.json()) == []


@pytest.mark.parametrize(("vendor", "cases"), [("okta", OKTA), ("onelogin", ONELOGIN)] if IS_THERE else [])
def test_each_path_of_a_document_has_a_case_or_is_not_pretended(vendor: str, cases: list[Case]) -> None:
    assert {case.path for case in cases} | NOT_PRETENDED[vendor] == paths(vendor)


@pytest.mark.parametrize(
    ("label", "case"),
    [
        ("app-users", Case("/api/v1/apps/{appId}/users")),
        ("app-groups", Case("/api/v1/apps/{appId}/groups")),
        ("group-users", Case("/api/v1/groups/{groupId}/users")),
        ("users-list", Case("/api/v1/users")),
        ("groups-list", Case("/api/v1/groups")),
        ("error-404", Case("/api/v1/users/{id}", {}, 404, "unknown")),
        ("error-429", Case("/api/v1/users/{id}", {}, 429, "busy")),
        ("error-400-invalid-cursor", Case("/api/v1/apps/{appId}/users", {"after": "rubbish"}, 400)),
    ]
    if IS_THERE
    else [],
)
async def test_okta_shows_the_fields_that_were_recorded(label: str, case: Case) -> None:
    recorded, pretended = fields(sample("okta", label)), fields((await okta_answer(case)).json())

    assert recorded <= pretended


@pytest.mark.parametrize(
    ("label", "case"),
    [
        ("app users", Case("/api/2/apps/{app_id}/users")),
        ("role users", Case("/api/2/roles/{role_id}/users")),
        ("roles of an app", Case("/api/2/roles")),
        ("users", Case("/api/2/users")),
        ("role apps", Case("/api/2/roles/{role_id}/apps")),
        ("apps", Case("/api/2/apps")),
        ("rate_limit", Case("/auth/rate_limit")),
        ("error 401 v2", Case("/api/2/users", {}, 401, "stranger")),
        ("error 404 v2", Case("/api/2/roles/{role_id}", {}, 404, "unknown")),
    ]
    if IS_THERE
    else [],
)
async def test_onelogin_shows_the_fields_that_are_documented(label: str, case: Case) -> None:
    documented, pretended = fields(sample("onelogin", label)), fields((await onelogin_answer(case)).json())

    assert documented - {"auth_method_description"} <= pretended


def without_nulls(body: object) -> object:
    """Return *body* without nulls, which the documentation of events shows and its schema does not permit."""
    if isinstance(body, list):
        return [without_nulls(each) for each in body]
    if not isinstance(body, dict):
        return body
    return {key: without_nulls(value) for key, value in body.items() if value is not None}


def fields(body: object, front: str = "") -> set[str]:
    """Return the dotted names of all fields of an object, or of all rows of a list."""
    if isinstance(body, list):
        return {name for row in body for name in fields(row, front)}
    if not isinstance(body, dict):
        return {front.rstrip(".")}
    return {name for key, value in body.items() for name in fields(value, f"{front}{key}.") or {f"{front}{key}"}}
