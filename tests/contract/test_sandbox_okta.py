"""The pretend Okta shows the company as Okta would."""

from __future__ import annotations

import pytest

from sandbox.okta import OktaOptions, RateLimits
from tests.contract.pretend_directories import ORG, PretendOkta


@pytest.fixture
def okta() -> PretendOkta:
    return PretendOkta()


def embedded(row: dict[str, object]) -> dict[str, object]:
    inner = row["_embedded"]
    assert isinstance(inner, dict)
    return dict(inner["user"])


async def test_app_users_are_everyone_assigned_but_the_deactivated(okta: PretendOkta) -> None:
    rows = await okta.rows(f"/apps/{okta.app.id}/users", expand="user", limit="25")

    assigned = okta.company.okta.assignments(okta.app)
    left = {person.id for person in okta.company.okta.people.values() if person.status == "DEPROVISIONED"}
    assert {row["id"] for row in rows} == set(assigned) - left
    assert left & set(assigned)
    assert len(rows) == len({row["id"] for row in rows})


async def test_app_users_list_the_deactivated_where_the_option_is_set(okta: PretendOkta) -> None:
    okta.org.options = OktaOptions(lists_deprovisioned=True)

    rows = await okta.rows(f"/apps/{okta.app.id}/users")

    assert okta.company.person("elisa.prado@acme.com").id in {row["id"] for row in rows}


async def test_deactivated_people_stay_in_their_groups(okta: PretendOkta) -> None:
    elisa = okta.company.person("elisa.prado@acme.com")

    rows = await okta.rows(f"/groups/{okta.app.groups[0]}/users", limit="200")

    assert {row["id"]: row["status"] for row in rows}[elisa.id] == "DEPROVISIONED"


async def test_scope_is_user_for_anyone_with_a_direct_assignment_too(okta: PretendOkta) -> None:
    rows = {row["id"]: row for row in await okta.rows(f"/apps/{okta.app.id}/users")}

    for address, scope in (
        ("felipe.neto@acme.com", "USER"),
        ("gabriela.reis@acme.com", "USER"),
        ("ana.lima@acme.com", "GROUP"),
    ):
        assert rows[okta.company.person(address).id]["scope"] == scope


async def test_group_link_names_the_group_of_highest_priority(okta: PretendOkta) -> None:
    rows = {row["id"]: row for row in await okta.rows(f"/apps/{okta.app.id}/users")}

    several = rows[okta.company.person("heitor.alvares@acme.com").id]["_links"]
    direct = rows[okta.company.person("felipe.neto@acme.com").id]["_links"]
    assert isinstance(several, dict)
    assert isinstance(direct, dict)
    assert several["group"] == {
        "name": okta.app.groups[0],
        "href": f"{ORG}/api/v1/groups/{okta.app.groups[0]}",
    }
    assert "group" not in direct


async def test_user_is_embedded_only_when_asked_for(okta: PretendOkta) -> None:
    bare = (await okta.get(f"/apps/{okta.app.id}/users", limit="1")).json()[0]
    whole = (await okta.get(f"/apps/{okta.app.id}/users", limit="1", expand="user")).json()[0]

    assert "_embedded" not in bare
    assert embedded(whole)["status"] in {"ACTIVE", "SUSPENDED", "STAGED", "LOCKED_OUT", "PASSWORD_EXPIRED"}


async def test_page_has_two_link_headers_self_first(okta: PretendOkta) -> None:
    answer = await okta.get(f"/apps/{okta.app.id}/users", limit="10", expand="user")

    links = answer.headers.get_list("link")
    assert len(links) == 2
    assert links[0].endswith('rel="self"')
    assert links[1].endswith('rel="next"')
    assert "expand=user" in links[1]


async def test_last_page_has_no_next_link(okta: PretendOkta) -> None:
    answer = await okta.get(f"/apps/{okta.app.id}/users", limit="500")

    assert len(answer.headers.get_list("link")) == 1
    assert "next" not in answer.links


async def test_cursor_is_refused_once_it_has_expired(okta: PretendOkta) -> None:
    first = await okta.get(f"/apps/{okta.app.id}/users", limit="10")
    okta.org.expire_cursors()

    answer = await okta.http.get(first.links["next"]["url"])

    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "E0000029"


@pytest.mark.parametrize("cursor", ["rubbish", "%ff", "MDovYXBpL3YxL2dyb3VwczowMHU"])
async def test_cursor_of_nowhere_is_refused(okta: PretendOkta, cursor: str) -> None:
    answer = await okta.get(f"/apps/{okta.app.id}/users", after=cursor)

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "E0000029")


async def test_no_person_is_skipped_when_another_leaves_between_two_pages(okta: PretendOkta) -> None:
    first = await okta.get(f"/apps/{okta.app.id}/users", limit="60")
    removed_id = first.json()[0]["id"]
    okta.company.leave(removed_id)

    rest = (await okta.http.get(first.links["next"]["url"])).json()

    assert {row["id"] for row in [*first.json(), *rest]} >= {
        key for key in okta.company.okta.assignments(okta.app) if okta.company.person(key).status != "DEPROVISIONED"
    }


@pytest.mark.parametrize(
    ("path", "limit", "status"),
    [("users", "500", 200), ("users", "0", 400), ("users", "many", 400), ("groups", "20", 200), ("groups", "19", 400)],
)
async def test_limit_is_held_to_what_the_list_takes(okta: PretendOkta, path: str, limit: str, status: int) -> None:
    assert (await okta.get(f"/apps/{okta.app.id}/{path}", limit=limit)).status_code == status


async def test_app_groups_come_with_their_names(okta: PretendOkta) -> None:
    rows = await okta.rows(f"/apps/{okta.app.id}/groups", expand="group", limit="200")

    names = {row["_embedded"]["group"]["profile"]["name"] for row in rows}  # type: ignore[index]  # a JSON object
    assert names == {"Pigment LatAm", "Pigment LatAm Finance", "Pigment LatAm Modelers"}
    assert sorted(row["priority"] for row in rows) == [0, 1, 2]  # type: ignore[type-var]  # numbers


async def test_inactive_app_is_shown_as_inactive(okta: PretendOkta) -> None:
    okta.app.active = False

    assert (await okta.get(f"/apps/{okta.app.id}")).json()["status"] == "INACTIVE"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/apps/0oanothing", "AppInstance"),
        ("/apps/0oanothing/users", "AppInstance"),
        ("/groups/00gnothing", "UserGroup"),
        ("/groups/00gnothing/users", "UserGroup"),
        ("/users/00unothing", "User"),
    ],
)
async def test_unknown_id_is_not_found(okta: PretendOkta, path: str, what: str) -> None:
    answer = await okta.get(path)

    assert answer.status_code == 404
    assert answer.json()["errorCode"] == "E0000007"
    assert answer.json()["errorSummary"].endswith(f"({what})")


async def test_user_is_found_by_id_and_by_login(okta: PretendOkta) -> None:
    ana = okta.company.person("ana.lima@acme.com")

    assert (await okta.get(f"/users/{ana.id}")).json() == (await okta.get("/users/ANA.lima@acme.com")).json()


async def test_deleted_user_is_not_found(okta: PretendOkta) -> None:
    ana = okta.company.delete("ana.lima@acme.com")

    assert (await okta.get(f"/users/{ana.id}")).status_code == 404


async def test_users_without_filter_leave_out_the_deactivated(okta: PretendOkta) -> None:
    elisa = okta.company.person("elisa.prado@acme.com").id

    assert elisa not in {row["id"] for row in await okta.rows("/users", limit="50")}
    found = await okta.rows("/users", filter='status eq "DEPROVISIONED"')
    assert [row["id"] for row in found] == [elisa]


async def test_users_changed_since_are_found(okta: PretendOkta) -> None:
    since = f"{okta.company.now:%Y-%m-%dT%H:%M:%S}.000Z"
    ana = okta.company.rename("ana.lima@acme.com", given="Anna")

    found = await okta.rows("/users", filter=f'lastUpdated gt "{since}"')

    assert [row["id"] for row in found] == [ana.id]


async def test_filter_that_cannot_be_read_is_refused(okta: PretendOkta) -> None:
    answer = await okta.get("/users", filter="status is good")

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "E0000031")


async def test_each_response_shows_what_is_left_of_the_limit(okta: PretendOkta) -> None:
    okta.org.set_rate_limits(RateLimits(apps=3))

    left = [(await okta.get(f"/apps/{okta.app.id}/users")).headers["x-rate-limit-remaining"] for _ in range(3)]

    assert left == ["2", "1", "0"]
    elsewhere = await okta.get(f"/groups/{okta.app.groups[0]}/users")
    assert elsewhere.headers["x-rate-limit-limit"] == "5000"


async def test_limit_that_is_used_up_answers_429_until_it_resets(okta: PretendOkta) -> None:
    okta.org.set_rate_limits(RateLimits(apps=1))
    await okta.get(f"/apps/{okta.app.id}/users")

    refused = await okta.get(f"/apps/{okta.app.id}/users")

    assert (refused.status_code, refused.json()["errorCode"]) == (429, "E0000047")
    assert refused.headers["x-rate-limit-reset"] == str(int(okta.clock.seconds) + 60)
    okta.clock.seconds += 60
    assert (await okta.get(f"/apps/{okta.app.id}/users")).status_code == 200


async def test_nothing_can_be_written(okta: PretendOkta) -> None:
    answer = await okta.http.post(f"/api/v1/apps/{okta.app.id}/users", json={})

    assert (answer.status_code, answer.json()["errorCode"]) == (405, "E0000022")


async def test_one_app_user_can_be_asked_for(okta: PretendOkta) -> None:
    ana, elisa = okta.company.person("ana.lima@acme.com"), okta.company.person("elisa.prado@acme.com")

    found = await okta.get(f"/apps/{okta.app.id}/users/{ana.id}", expand="user")
    response = await okta.get(f"/apps/{okta.app.id}/users/{elisa.id}")

    assert embedded(found.json())["id"] == ana.id
    assert response.status_code == 404


async def test_path_that_leads_nowhere_is_not_found(okta: PretendOkta) -> None:
    assert (await okta.get("/nothing/here")).json()["errorCode"] == "E0000007"
