"""OneLogin's own client reads the pretend OneLogin, and shows the people that our connector shows.

What the SDK (onelogin 4.0.1) can't do, each proved below, and why the agent reads without it:

- It reads the first page of an application's users only: `get_app_users` takes no page and no cursor.
- It shows no cursor of a list: that is in a header, which only the `..._with_http_info` functions return.
- `Configuration(access_token=...)` drops the token. It is set afterwards.
- One person with a status that it does not know ends the whole page with an exception.
- It neither waits nor tries again on 429, and renews no token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.http_client import create_client
from connectors.base import Snapshot, Source
from connectors.onelogin import OneLoginSettings
from connectors.onelogin.connector import OneLoginConnector
from sandbox.company import generate_company
from sandbox.host import host_apps
from sandbox.onelogin import onelogin_app
from tests.contract.odd_people import Reading, as_read, hire_odd_people, readings
from tests.contract.pretend_directories import SECRET, PretendOneLogin

SIZE = 260
"""More people than one page of any list shows."""


@pytest.fixture
def pretend() -> PretendOneLogin:
    pretend = PretendOneLogin(generate_company(size=SIZE))
    # Our connector and the SDK count a token's life by the real clock.
    pretend.clock.seconds = time.time()
    return pretend


@pytest.fixture
def odd(pretend: PretendOneLogin) -> dict[str, str]:
    return hire_odd_people(pretend.company, "onelogin")


@pytest.fixture
def url(pretend: PretendOneLogin) -> Iterator[str]:
    with host_apps({"onelogin": onelogin_app(pretend.account)}, 0) as urls:
        yield urls["onelogin"]


@pytest.fixture
def sdk(url: str) -> Iterator[Any]:
    """Yield the SDK's client with a token that the SDK has got by itself."""
    # Fetched here because it takes most of a second, which no other test needs.
    import onelogin
    from onelogin.api.o_auth2_api import OAuth2Api

    configuration = onelogin.Configuration(host=url, username="id", password=SECRET)
    with onelogin.ApiClient(configuration) as client:
        token = OAuth2Api(client).generate_token({"grant_type": "client_credentials"})
        configuration.access_token = token.access_token
        yield client


def walked(ask: Callable[..., Any], *arguments: object, **options: object) -> list[Any]:
    """Return the rows of all pages of a list whose function takes a cursor."""
    answer = ask(*arguments, **options)
    rows = list(answer.data)
    while cursor := answer.headers.get("after-cursor"):
        answer = ask(*arguments, cursor=cursor)
        rows += answer.data
    return rows


async def read(pretend: PretendOneLogin, url: str) -> Snapshot:
    """Read the application with our connector, over the same sockets."""
    settings = {"type": "onelogin", "api_url": url, "client_id": "id", "client_secret": SECRET}
    async with create_client(None, 10) as http:
        connector = OneLoginConnector("onelogin-apac", OneLoginSettings.model_validate(settings), http)
        return await connector.read(Source("onelogin-apac", pretend.app.id))


async def test_sdk_and_our_connector_read_the_same_people(
    pretend: PretendOneLogin, odd: dict[str, str], url: str, sdk: Any
) -> None:
    from onelogin.api.roles_api import RolesApi
    from onelogin.api.users_v2_api import UsersV2Api

    roles, users = RolesApi(sdk), UsersV2Api(sdk)
    granting = walked(roles.list_roles_with_http_info, app_id=int(pretend.app.id), fields="id,name")
    members = {
        str(role.id): {row.id for row in walked(roles.get_role_users_with_http_info, str(role.id), limit=40)}
        for role in granting
    }
    in_roles = set().union(*members.values())
    theirs = {
        str(row.id): Reading(
            as_read(row.email),
            f"status {row.status}, state {row.state}",
            as_read(row.firstname),
            as_read(row.lastname),
            frozenset(key for key, people in members.items() if row.id in people),
            False,
        )
        for row in walked(users.list_users2_with_http_info, limit=100)
        if row.id in in_roles
    }

    ours = readings(await read(pretend, url))

    by_role = {key: each for key, each in ours.items() if each.groups}
    assert theirs == by_role
    assert len(theirs) > 150
    # The SDK can't list those who are assigned by no role, but it shows each of them by id.
    alone = {key: each for key, each in ours.items() if not each.groups}
    assert {key: as_read(users.get_user2(int(key)).email) for key in alone} == {
        key: each.email for key, each in alone.items()
    }
    assert {about for about, key in odd.items() if key not in ours} == set()
    assert odd["individual"] in alone


async def test_sdk_shows_one_person_with_their_roles(
    pretend: PretendOneLogin, odd: dict[str, str], url: str, sdk: Any
) -> None:
    from onelogin.api.users_v2_api import UsersV2Api

    ours = readings(await read(pretend, url))

    for about, key in odd.items():
        shown = UsersV2Api(sdk).get_user2(int(key))
        assert frozenset(map(str, shown.role_ids)) == ours[key].groups, about
        assert f"status {shown.status}, state {shown.state}" == ours[key].status, about


async def test_sdk_reads_the_first_page_of_an_application_only(pretend: PretendOneLogin, url: str, sdk: Any) -> None:
    from onelogin.api.apps_api import AppsApi
    from onelogin.exceptions import ApiTypeError

    apps, app = AppsApi(sdk), int(pretend.app.id)

    page = apps.get_app_users_with_http_info(app)

    ours = {person.id: person for person in (await read(pretend, url)).people}
    assert len(page.data) == 100 < len(ours) == int(page.headers["total-count"])
    assert {str(row.id): row.email for row in page.data}.items() <= {
        key: each.email for key, each in ours.items()
    }.items()
    for argument in ("limit", "page", "cursor"):
        with pytest.raises(ApiTypeError, match=argument):
            apps.get_app_users(app, **{argument: 2})


def test_sdk_reads_applications_roles_and_the_rate_limit(pretend: PretendOneLogin, sdk: Any) -> None:
    from onelogin.api.apps_api import AppsApi
    from onelogin.api.o_auth2_api import OAuth2Api
    from onelogin.api.roles_api import RolesApi

    directory = pretend.company.onelogin
    app = AppsApi(sdk).get_app(int(pretend.app.id))
    role = RolesApi(sdk).get_role(pretend.app.groups[0])

    assert {str(row.id): row.name for row in AppsApi(sdk).list_apps()} == {
        each.id: each.name for each in directory.apps.values()
    }
    assert (app.name, [str(key) for key in app.role_ids]) == (pretend.app.name, pretend.app.groups)
    assert {str(key) for key in role.users} == set(directory.groups[pretend.app.groups[0]].people)
    assert [row.id for row in RolesApi(sdk).get_role_apps(pretend.app.groups[0])] == [app.id]
    assert OAuth2Api(sdk).get_rate_limit().data.x_rate_limit_limit == pretend.account.quota.limit


def test_sdk_reads_errors(pretend: PretendOneLogin, sdk: Any) -> None:
    from onelogin.api.apps_api import AppsApi
    from onelogin.api.users_v2_api import UsersV2Api
    from onelogin.exceptions import ApiException, NotFoundException, UnauthorizedException

    with pytest.raises(NotFoundException, match="could not be found"):
        AppsApi(sdk).get_app(1)
    # The sandbox does not model this filter, and refuses what it does not model.
    with pytest.raises(ApiException, match="directory_id' is not supported"):
        UsersV2Api(sdk).list_users2(directory_id=5)
    pretend.account.quota.limit = 0
    with pytest.raises(ApiException) as busy:
        AppsApi(sdk).list_apps()
    assert busy.value.status == 429
    pretend.account.quota.limit = 1000
    pretend.account.revoke_all()
    with pytest.raises(UnauthorizedException):
        AppsApi(sdk).list_apps()


def test_sdk_drops_a_token_that_its_constructor_takes() -> None:
    import onelogin

    assert onelogin.Configuration(access_token="a-token").access_token is None


def test_sdk_refuses_a_whole_page_for_one_status_that_it_does_not_know(pretend: PretendOneLogin, sdk: Any) -> None:
    from onelogin.api.users_v2_api import UsersV2Api

    next(iter(pretend.company.onelogin.people.values())).status = "6"

    with pytest.raises(ValueError, match="enum values"):
        walked(UsersV2Api(sdk).list_users2_with_http_info, limit=100)
