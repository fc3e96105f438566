"""Read Graph with Microsoft's own SDK, and print what it shows as JSON: the second reader of the pretend Entra.

`scripts/second-readers` makes the environment for it, which has the SDK and nothing of this project. The request comes
as JSON on the standard input: `url` (Graph's root), `token`, `client_id` (the application's `appId`), `top`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from azure.core.credentials import AccessToken
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.directory.deleted_items.graph_user.graph_user_request_builder import GraphUserRequestBuilder
from msgraph.generated.groups.item.group_item_request_builder import GroupItemRequestBuilder
from msgraph.generated.groups.item.members.members_request_builder import MembersRequestBuilder
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.service_principals.item.app_role_assigned_to.app_role_assigned_to_request_builder import (
    AppRoleAssignedToRequestBuilder,
)
from msgraph.generated.users.item.user_item_request_builder import UserItemRequestBuilder
from msgraph_core import PageIterator

USER_FIELDS = [
    "id",
    "userPrincipalName",
    "mail",
    "displayName",
    "givenName",
    "surname",
    "accountEnabled",
    "userType",
    "otherMails",
]
SHOWN = {
    "userPrincipalName": "user_principal_name",
    "mail": "mail",
    "displayName": "display_name",
    "givenName": "given_name",
    "surname": "surname",
    "accountEnabled": "account_enabled",
    "userType": "user_type",
    "otherMails": "other_mails",
}


class Credential:
    """Gives the one token that came with the request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 3600)


def configuration(parameters: Any, **headers: str) -> Any:
    made = RequestConfiguration(query_parameters=parameters)
    for name, value in headers.items():
        made.headers.add(name.replace("_", "-"), value)
    return made


def shown(thing: Any) -> dict[str, Any]:
    """Return a directory object with its type, as the SDK's classes have it."""
    return {"id": thing.id, "type": thing.odata_type} | {
        name: getattr(thing, attribute) for name, attribute in SHOWN.items() if hasattr(thing, attribute)
    }


async def all_pages(client: GraphServiceClient, page: Any, **headers: str) -> list[Any]:
    """Follow the next links with the SDK's own iterator."""
    rows: list[Any] = []
    iterator = PageIterator(page, client.request_adapter)
    for name, value in headers.items():
        iterator.headers.add(name.replace("_", "-"), value)

    def keep(row: Any) -> bool:
        rows.append(row)
        return True

    await iterator.iterate(keep)
    return rows


async def read_group(client: GraphServiceClient, key: str, top: int) -> dict[str, Any]:
    group = client.groups.by_group_id(key)
    parameters = GroupItemRequestBuilder.GroupItemRequestBuilderGetQueryParameters(
        select=["id", "displayName", "visibility"]
    )
    found = await group.get(configuration(parameters))
    listing = MembersRequestBuilder.MembersRequestBuilderGetQueryParameters(select=USER_FIELDS, top=top)
    advanced = MembersRequestBuilder.MembersRequestBuilderGetQueryParameters(select=["id"], top=top, count=True)
    eventual = {"ConsistencyLevel": "eventual"}
    members = await all_pages(client, await group.members.get(configuration(listing)))
    users = await group.members.graph_user.get(configuration(advanced, **eventual))
    transitive = await group.transitive_members.get(configuration(listing))
    return {
        "name": found.display_name,
        "visibility": found.visibility,
        "members": [shown(row) for row in members],
        "count": users.odata_count,
        "users": ids(await all_pages(client, users, **eventual)),
        "transitive": ids(await all_pages(client, transitive)),
    }


def ids(rows: Iterable[Any]) -> list[str]:
    return [str(row.id) for row in rows]


async def read_user(client: GraphServiceClient, key: str) -> dict[str, Any]:
    parameters = UserItemRequestBuilder.UserItemRequestBuilderGetQueryParameters(select=USER_FIELDS)
    user = client.users.by_user_id(key)
    person = await user.get(configuration(parameters))
    return shown(person) | {"memberOf": ids(await all_pages(client, await user.member_of.get()))}


async def error_of(call: Any) -> dict[str, Any]:
    """Return the error that the SDK raises, as it reads it."""
    try:
        answer = await call
    except ODataError as error:
        return {"status": error.response_status_code, "code": error.error.code if error.error else None}
    return {"status": None, "code": f"answered: {answer}"}


async def read(request: dict[str, Any]) -> dict[str, Any]:
    client = GraphServiceClient(Credential(request["token"]), ["https://graph.microsoft.com/.default"])
    # The SDK has no argument for another root; its adapter builds each address from this.
    client.request_adapter.base_url = f"{request['url']}/v1.0"
    client.path_parameters["baseurl"] = client.request_adapter.base_url
    app = await client.service_principals_with_app_id(request["client_id"]).get()
    assigned = client.service_principals.by_service_principal_id(app.id).app_role_assigned_to
    listing = AppRoleAssignedToRequestBuilder.AppRoleAssignedToRequestBuilderGetQueryParameters(top=request["top"])
    rows = await all_pages(client, await assigned.get(configuration(listing)))
    by_kind: dict[str, set[str]] = {}
    for row in rows:
        by_kind.setdefault(row.principal_type, set()).add(str(row.principal_id))
    deleted = GraphUserRequestBuilder.GraphUserRequestBuilderGetQueryParameters(
        select=["id", "deletedDateTime"], count=True
    )
    gone = await client.directory.deleted_items.graph_user.get(configuration(deleted, ConsistencyLevel="eventual"))
    top = request["top"]
    return {
        "app": {"id": app.id, "name": app.display_name, "enabled": app.account_enabled},
        "assignments": len(rows),
        "groups": {key: await read_group(client, key, top) for key in sorted(by_kind.get("Group", ()))},
        "individuals": {key: await read_user(client, key) for key in sorted(by_kind.get("User", ()))},
        "deleted": ids(await all_pages(client, gone)),
        "errors": {
            "unknown group": await error_of(client.groups.by_group_id("none").members.get()),
            "cast without the header": await error_of(
                client.groups.by_group_id(min(by_kind["Group"])).members.graph_user.get()
            ),
            "what is not modelled": await error_of(client.devices.get()),
        },
    }


sys.stdout.write(json.dumps(asyncio.run(read(json.load(sys.stdin)))))
