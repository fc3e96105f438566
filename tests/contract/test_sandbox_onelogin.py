"""The pretend OneLogin shows the company as OneLogin would."""

from __future__ import annotations

from base64 import b64decode

import pytest

from sandbox.onelogin import OneLoginOptions
from tests.contract.pretend_directories import PretendOneLogin


@pytest.fixture
def onelogin() -> PretendOneLogin:
    return PretendOneLogin()


async def test_app_users_are_everyone_assigned_and_show_no_status(onelogin: PretendOneLogin) -> None:
    rows = await onelogin.rows(f"/apps/{onelogin.app.id}/users", limit="30")

    assert {str(row["id"]) for row in rows} == set(onelogin.company.onelogin.assignments(onelogin.app))
    assert set(rows[0]) == {"id", "firstname", "lastname", "email", "username"}


async def test_roles_of_an_app_are_those_that_grant_it(onelogin: PretendOneLogin) -> None:
    rows = await onelogin.rows("/roles", app_id=onelogin.app.id, fields="id,name")

    assert rows == [{"id": int(key), "name": onelogin.company.onelogin.groups[key].name} for key in onelogin.app.groups]


async def test_app_names_its_roles(onelogin: PretendOneLogin) -> None:
    app = (await onelogin.get(f"/apps/{onelogin.app.id}")).json()

    assert app["name"] == "Pigment APAC"
    assert app["role_ids"] == [int(key) for key in onelogin.app.groups]


async def test_role_users_are_its_members(onelogin: PretendOneLogin) -> None:
    role = onelogin.company.onelogin.groups[onelogin.app.groups[0]]

    rows = await onelogin.rows(f"/roles/{role.id}/users", limit="20")

    assert {str(row["id"]) for row in rows} == set(role.people)
    assert all(row["assigned"] for row in rows)


async def test_role_users_show_the_others_only_when_asked(onelogin: PretendOneLogin) -> None:
    role = onelogin.company.onelogin.groups[onelogin.app.groups[0]]

    rows = (await onelogin.get(f"/roles/{role.id}/users", limit="100", include_unassigned="true")).json()

    assert {row["assigned"] for row in rows} == {True, False}
    assert {str(row["id"]) for row in rows if row["assigned"]} <= set(role.people)


async def test_role_apps_are_those_it_grants(onelogin: PretendOneLogin) -> None:
    rows = await onelogin.rows(f"/roles/{onelogin.app.groups[0]}/apps")

    assert [row["name"] for row in rows] == ["Pigment APAC"]


async def test_users_show_status_and_state(onelogin: PretendOneLogin) -> None:
    rows = {row["email"]: row for row in await onelogin.rows("/users")}

    assert len(rows) == len(onelogin.company.onelogin.people)
    assert rows["duy.dang@acme.com"]["status"] == 2
    assert rows["jun.wang@acme.com"]["state"] == 3
    assert any(row["username"] is None for row in rows.values())


async def test_one_user_shows_its_roles(onelogin: PretendOneLogin) -> None:
    bao = onelogin.company.person("bao.nguyen@acme.com")

    alone = (await onelogin.get(f"/users/{bao.id}")).json()
    listed = (await onelogin.rows("/users", email=bao.email))[0]

    assert alone["role_ids"] == [int(key) for key in onelogin.app.groups]
    assert "role_ids" not in listed


async def test_users_changed_since_are_found(onelogin: PretendOneLogin) -> None:
    onelogin.company.suspend("bao.nguyen@acme.com")

    since = f"{onelogin.company.now:%Y-%m-%dT%H:%M:%S}.000Z"

    assert [row["email"] for row in await onelogin.rows("/users", updated_since=since)] == ["bao.nguyen@acme.com"]


async def test_page_shows_its_position_in_its_headers(onelogin: PretendOneLogin) -> None:
    first = await onelogin.get("/users", limit="50")

    assert isinstance(first.json(), list)
    assert {name: first.headers[name] for name in ("current-page", "page-items", "total-count", "total-pages")} == {
        "current-page": "1",
        "page-items": "50",
        "total-count": "120",
        "total-pages": "3",
    }
    assert b64decode(first.headers["after-cursor"]) == b"limit=50&page=2"
    assert "before-cursor" not in first.headers


async def test_limit_above_the_largest_is_clipped(onelogin: PretendOneLogin) -> None:
    assert (await onelogin.get("/users", limit="5000")).headers["page-items"] == "100"


@pytest.mark.parametrize(("word", "shown"), [("absent", None), ("empty", "")])
async def test_last_page_has_no_cursor_to_follow(onelogin: PretendOneLogin, word: str, shown: str | None) -> None:
    onelogin.account.options = OneLoginOptions(end_cursor=word)

    assert (await onelogin.get("/users", limit="100", page="2")).headers.get("after-cursor") == shown


@pytest.mark.parametrize("parameter", ["limit", "page"])
async def test_cursor_excludes_limit_and_page(onelogin: PretendOneLogin, parameter: str) -> None:
    cursor = (await onelogin.get("/users")).headers["after-cursor"]

    answer = await onelogin.get("/users", cursor=cursor, **{parameter: "2"})

    assert answer.status_code == 400


async def test_cursor_is_an_offset_so_that_a_person_is_skipped_when_another_leaves(onelogin: PretendOneLogin) -> None:
    first = await onelogin.get("/users", limit="100")
    onelogin.company.delete(str(first.json()[0]["id"]))

    second = await onelogin.get("/users", cursor=first.headers["after-cursor"])

    seen = {row["id"] for row in [*first.json(), *second.json()]}
    assert len(seen) == 119
    assert len(seen - {first.json()[0]["id"]}) < int(second.headers["total-count"])


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"page": "-1"}, {"cursor": "rubbish"}])
async def test_paging_that_cannot_be_read_is_refused(onelogin: PretendOneLogin, query: dict[str, str]) -> None:
    assert (await onelogin.get("/users", **query)).status_code in {400, 422}


@pytest.mark.parametrize("path", ["/apps/1", "/apps/1/users", "/roles/1", "/roles/1/users", "/users/1", "/nothing"])
async def test_unknown_id_is_not_found(onelogin: PretendOneLogin, path: str) -> None:
    answer = await onelogin.get(path)

    assert answer.status_code == 404
    assert "could not be found" in answer.json()["message"]


async def test_error_of_the_users_list_has_the_older_shape(onelogin: PretendOneLogin) -> None:
    body = (await onelogin.get("/users/1")).json()
    other = (await onelogin.get("/roles/1")).json()

    assert set(body) == {"error", "code", "type", "message"}
    assert set(other) == {"message", "statusCode", "name"}


async def test_token_is_given_for_each_of_the_three_forms(onelogin: PretendOneLogin) -> None:
    url, grant = "/auth/oauth2/v2/token", {"grant_type": "client_credentials"}
    header = {"Authorization": "client_id:id, client_secret:secret"}

    answers = [
        await onelogin.http.post(url, json=grant, headers=header),
        await onelogin.http.post(url, json=grant, auth=("id", "secret")),
        await onelogin.http.post(url, data=grant | {"client_id": "id", "client_secret": "secret"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.json()["access_token"] for answer in answers}) == 1


async def test_token_stays_the_same_until_it_expires(onelogin: PretendOneLogin) -> None:
    first = (await onelogin.token()).json()
    onelogin.clock.seconds += 100
    second = (await onelogin.token()).json()
    onelogin.clock.seconds += 36_000
    third = (await onelogin.token()).json()

    assert first["access_token"] == second["access_token"] != third["access_token"]
    assert (first["expires_in"], second["expires_in"]) == (36_000, 35_900)


async def test_wrong_secret_is_refused(onelogin: PretendOneLogin) -> None:
    answer = await onelogin.token(secret="other")

    assert answer.status_code == 401
    assert answer.json() == {"error": True, "code": 401, "type": "Unauthorized", "message": "Unauthorized Error"}


async def test_revoked_token_is_refused(onelogin: PretendOneLogin) -> None:
    await onelogin.get("/users")

    onelogin.account.revoke_all()

    assert (await onelogin.get("/users")).json() == {
        "message": "Unauthorized",
        "statusCode": 401,
        "name": "UnauthorizedError",
    }


async def test_read_users_is_not_enough_for_applications(onelogin: PretendOneLogin) -> None:
    await onelogin.sign_in("people")

    assert (await onelogin.get("/users")).status_code == 200
    assert (await onelogin.get(f"/apps/{onelogin.app.id}/users")).status_code == 403


async def test_everything_fails_once_the_owner_of_the_credential_is_deleted(onelogin: PretendOneLogin) -> None:
    await onelogin.get("/users")

    onelogin.account.options = OneLoginOptions(owner_deleted=True)

    assert (await onelogin.token()).status_code == 500
    assert (await onelogin.get("/users")).status_code == 500


async def test_token_may_come_wrapped(onelogin: PretendOneLogin) -> None:
    onelogin.account.options = OneLoginOptions(wraps_token=True)

    assert (await onelogin.token()).json()["data"][0]["token_type"] == "bearer"


async def test_used_up_limit_answers_429_with_the_seconds(onelogin: PretendOneLogin) -> None:
    onelogin.account.quota.limit = 2
    onelogin.clock.seconds += 1
    await onelogin.get("/users")
    onelogin.clock.seconds += 600
    assert (await onelogin.get("/users")).headers["x-ratelimit-remaining"] == "0"

    refused = await onelogin.get("/users")

    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-reset"] == "3000"
    onelogin.clock.seconds += 3000
    assert (await onelogin.get("/users")).status_code == 200


async def test_rate_limit_can_be_asked_for(onelogin: PretendOneLogin) -> None:
    await onelogin.get("/users")

    body = (await onelogin.http.get("/auth/rate_limit")).json()["data"]

    assert body["X-RateLimit-Limit"] - body["X-RateLimit-Remaining"] == 2


async def test_nothing_can_be_written(onelogin: PretendOneLogin) -> None:
    await onelogin.sign_in()

    assert (await onelogin.http.delete("/api/2/users/1")).status_code == 405


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Authorization": "Basic ***"}, '{"grant_type": "client_credentials"}'),
        ({}, '{"grant_type": "password"}'),
        ({}, "[]"),
        ({}, "rubbish"),
    ],
)
async def test_token_request_that_cannot_be_read_is_refused(
    onelogin: PretendOneLogin, headers: dict[str, str], body: str
) -> None:
    answer = await onelogin.http.post("/auth/oauth2/v2/token", content=body, headers=headers)

    assert (answer.status_code, answer.json()["type"]) == (400, "bad request")


async def test_apps_are_listed_without_their_roles(onelogin: PretendOneLogin) -> None:
    rows = await onelogin.rows("/apps")

    assert [row["name"] for row in rows] == ["Pigment APAC", "Travel"]
    assert all("role_ids" not in row for row in rows)


async def test_one_role_can_be_asked_for(onelogin: PretendOneLogin) -> None:
    role = (await onelogin.get(f"/roles/{onelogin.app.groups[0]}")).json()

    assert (role["name"], role["apps"]) == ("Pigment APAC", [int(onelogin.app.id)])
