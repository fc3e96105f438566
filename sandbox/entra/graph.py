"""What Graph answers about service principals, groups, people and what was deleted."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from sandbox.company import Group, Person
from sandbox.entra.page import next_link, page
from sandbox.entra.refusal import GraphRefusal, bad_request
from sandbox.entra.row import (
    DEFAULT_USER,
    KNOWN,
    USER,
    Row,
    Thing,
    assignments,
    group_row,
    id_of,
    principal_row,
    row_of,
    shown,
    user_row,
)
from sandbox.entra.tenant import EVERYTHING, EntraTenant

__all__ = ["Call"]

T = TypeVar("T")

NAME_FILTER = re.compile(
    r"(?:principalDisplayName eq '(?P<is>.*)'|startswith\(principalDisplayName,\s*'(?P<begins>.*)'\))"
)
LIMITED = ("displayName", "mail", "userPrincipalName", "givenName", "surname")


@dataclass(frozen=True, slots=True)
class Call:
    """One request whose token has *roles*. The methods return what is answered, or raise `GraphRefusal`."""

    tenant: EntraTenant
    request: Request
    roles: frozenset[str]

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    @property
    def root(self) -> str:
        return str(self.request.base_url).rstrip("/") + "/v1.0"

    def principal(self) -> Row:
        self._may("Application.Read.All")
        app = self.tenant.app(self._path("id"))
        return self._entity(principal_row(app, required=self.tenant.switches.required), "servicePrincipals")

    def principal_by_app_id(self) -> Row:
        self._may("Application.Read.All")
        app = self.tenant.app_by_client_id(self._path("id"))
        return self._entity(principal_row(app, required=self.tenant.switches.required), "servicePrincipals")

    def assigned(self) -> Row:
        """List who is assigned. With both `$filter` and `$top` the next link is lost, as it is in truth."""
        self._may("Application.Read.All")
        app = self.tenant.app(self._path("id"))
        expression = self.query.get("$filter")
        rows = assignments(app, self.tenant.directory)
        found = rows if expression is None else _named(rows, expression)
        chosen = self._chosen(frozenset(rows[0]), "appRoleAssignment")
        found = [shown(row, chosen) for row in found] if chosen else found
        listed = self._collection(found, _row_id, f"servicePrincipals('{app.id}')/appRoleAssignedTo")
        loses = expression is not None and "$top" in self.query
        return {name: value for name, value in listed.items() if name != "@odata.nextLink" or not loses}

    def group(self) -> Row:
        self._may("GroupMember.Read.All")
        return self._entity(group_row(self.tenant.group(self._path("id"))), "groups")

    def members(self) -> Row:
        self._may("GroupMember.Read.All")
        return self._members(self._direct(self.tenant.group(self._path("id"))), "directoryObjects")

    def nested_members(self) -> Row:
        self._may("GroupMember.Read.All")
        return self._members(self._nested(self.tenant.group(self._path("id"))), "directoryObjects")

    def users_only(self) -> Row:
        """An advanced query: it must say so, and on each page again."""
        if self.request.headers.get("consistencylevel", "").casefold() != "eventual":
            raise bad_request("Request with cast requires ConsistencyLevel: eventual.", "Request_UnsupportedQuery")
        if "$skiptoken" not in self.query and self.query.get("$count") != "true":
            raise bad_request("Request with cast requires $count=true.", "Request_UnsupportedQuery")
        self._may("GroupMember.Read.All")
        group = self.tenant.group(self._path("id"))
        things = self._direct(group) if "/members/" in self.request.url.path else self._nested(group)
        return self._members([thing for thing in things if isinstance(thing, Person)], "users")

    def user(self) -> Row:
        self._may("User.Read.All")
        person = self.tenant.person(self._path("id"))
        return self._entity(user_row(person), "users", DEFAULT_USER)

    def groups_of_user(self) -> Row:
        self._may("User.Read.All")
        self._may("GroupMember.Read.All")
        person, directory = self.tenant.person(self._path("id")), self.tenant.directory
        found = directory.groups_of(person.id)
        if self.request.url.path.endswith("/transitiveMemberOf"):
            found = [each for each in directory.groups.values() if person in self._nested(each)]
        return self._members(list(found), "directoryObjects")

    def deleted(self) -> Row:
        self._may("User.Read.All")
        row = user_row(self.tenant.deleted(self._path("id")), deleted=True)
        return self._entity(row, "directoryObjects", [*DEFAULT_USER, "deletedDateTime"])

    def deleted_users(self) -> Row:
        self._may("User.Read.All")
        chosen = self._chosen(USER, "user") or [*DEFAULT_USER, "deletedDateTime"]
        people = list(self.tenant.directory.deleted.values())
        rows = [_untyped(shown(user_row(each, deleted=True), chosen)) for each in people]
        return self._collection(rows, _row_id, "users")

    def _direct(self, group: Group) -> list[Thing]:
        """Return a group's direct members; nested groups and devices stand before the people.

        A group that hides its members has none for a token without the permission, and nothing in the answer shows why.
        """
        if group.hides_members and "Member.Read.Hidden" not in self.roles:
            return []
        directory = self.tenant.directory
        inner = [directory.groups[key] for key in group.groups if key in directory.groups]
        return [*inner, *group.devices, *directory.members(group)]

    def _nested(self, group: Group) -> list[Thing]:
        """Return all members, whatever way they are in, each once; circles are walked once."""
        found: dict[str, Thing] = {}
        waiting = [group]
        while waiting:
            for thing in self._direct(waiting.pop(0)):
                if isinstance(thing, Group) and thing.id not in found:
                    waiting.append(thing)
                found.setdefault(id_of(thing), thing)
        return list(found.values())

    def _may(self, role: str) -> None:
        if role not in self.roles and EVERYTHING not in self.roles:
            raise GraphRefusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")

    def _path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def _chosen(self, known: Collection[str], kind: str) -> list[str]:
        """Return the properties that `$select` names, all of them *known*."""
        names = [name.strip() for name in self.query.get("$select", "").split(",") if name.strip()]
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            raise bad_request(f"Could not find a property named '{unknown}' on type 'microsoft.graph.{kind}'.")
        return names

    def _members(self, things: list[Thing], what: str) -> Row:
        chosen = self._chosen(KNOWN, "directoryObject")
        hides = not self.roles & {"User.Read.All", EVERYTHING}

        def row(thing: Thing) -> Row:
            """Without the permission to read people, a person is an id and nulls; nothing tells why."""
            whole = row_of(thing)
            if not isinstance(thing, Person):
                return shown(whole, chosen or whole)
            if hides:
                return {"@odata.type": whole["@odata.type"], **dict.fromkeys(chosen or LIMITED), "id": thing.id}
            return shown(whole, chosen or DEFAULT_USER)

        body = self._collection(things, id_of, what)
        return {**body, "value": [row(thing) for thing in body["value"]]}

    def _entity(self, row: Row, what: str, usual: list[str] | None = None) -> Row:
        select = self.query.get("$select")
        names = self._chosen(frozenset(row) - {"@odata.type"}, what) or usual
        context = f"{self.root}/$metadata#{what}" + (f"({select})" if select else "") + "/$entity"
        return {"@odata.context": context} | _untyped(row if names is None else shown(row, names))

    def _collection(self, things: Sequence[T], key: Callable[[T], str], what: str) -> dict[str, Any]:
        sizes = (self.tenant.switches.page_size, self.tenant.switches.largest_page)
        found, token = page(things, key, self.query, sizes)
        select = self.query.get("$select")
        body: dict[str, object] = {
            "@odata.context": f"{self.root}/$metadata#{what}" + (f"({select})" if select else "")
        }
        if self.query.get("$count") == "true" and "$skiptoken" not in self.query:
            body["@odata.count"] = len(things)
        if token is not None:
            body["@odata.nextLink"] = next_link(str(self.request.url.replace(query="")), self.query, token)
        return body | {"value": list(found)}


def _row_id(row: Row) -> str:
    return str(row["id"])


def _named(rows: list[Row], expression: str) -> list[Row]:
    """Only `principalDisplayName` can be filtered by."""
    parts = NAME_FILTER.fullmatch(expression.strip())
    if parts is None:
        raise bad_request(f"Invalid filter clause: {expression}")
    if parts["is"] is not None:
        return [row for row in rows if row["principalDisplayName"] == parts["is"]]
    return [row for row in rows if str(row["principalDisplayName"] or "").startswith(parts["begins"])]


def _untyped(row: Row) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "@odata.type"}
