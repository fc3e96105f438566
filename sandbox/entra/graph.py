"""Graph's responses about service principals, groups, people and deleted objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from sandbox.company import Group, Person
from sandbox.entra.errors import GraphError, bad_request
from sandbox.entra.pagination import next_link, paginate
from sandbox.entra.resources import (
    DEFAULT_USER_FIELDS,
    MEMBER_FIELDS,
    USER_FIELDS,
    DirectoryObject,
    JsonObject,
    assignment_objects,
    directory_object,
    group_object,
    object_id,
    select_fields,
    service_principal_object,
    user_object,
)
from sandbox.entra.tenant import DIRECTORY_READ_ALL, EntraTenant

__all__ = ["GraphRequest"]

T = TypeVar("T")

NAME_FILTER = re.compile(
    r"(?:principalDisplayName eq '(?P<is>.*)'|startswith\(principalDisplayName,\s*'(?P<begins>.*)'\))"
)
ENABLED_FILTER = re.compile(r"accountEnabled eq (?P<value>true|false)")
ADDRESS_TERM = re.compile(r"(?P<name>userPrincipalName|mail) eq '(?P<value>(?:[^']|'')*)'")
DEFAULT_MEMBER_FIELDS = ("displayName", "mail", "userPrincipalName", "givenName", "surname")


@dataclass(frozen=True, slots=True)
class GraphRequest:
    """One request whose token has *roles*. The methods return a response body, or raise `GraphError`."""

    tenant: EntraTenant
    request: Request
    roles: frozenset[str]

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    @property
    def root(self) -> str:
        return str(self.request.base_url).rstrip("/") + "/v1.0"

    def principal(self) -> JsonObject:
        self._require_role("Application.Read.All")
        app = self.tenant.app(self._path_parameter("id"))
        return self._entity(
            service_principal_object(app, required=self.tenant.options.is_assignment_required), "servicePrincipals"
        )

    def principal_by_app_id(self) -> JsonObject:
        self._require_role("Application.Read.All")
        app = self.tenant.app_by_client_id(self._path_parameter("id"))
        return self._entity(
            service_principal_object(app, required=self.tenant.options.is_assignment_required), "servicePrincipals"
        )

    def assigned(self) -> JsonObject:
        """List the assignments. With both `$filter` and `$top` the next link is missing, as in the real Graph."""
        self._require_role("Application.Read.All")
        app = self.tenant.app(self._path_parameter("id"))
        expression = self.query.get("$filter")
        rows = assignment_objects(app, self.tenant.directory)
        found = rows if expression is None else _filter_by_name(rows, expression)
        chosen = self._selected_fields(frozenset(rows[0]), "appRoleAssignment")
        found = [select_fields(row, chosen) for row in found] if chosen else found
        listed = self._collection(found, _row_id, f"servicePrincipals('{app.id}')/appRoleAssignedTo")
        loses = expression is not None and "$top" in self.query
        return {name: value for name, value in listed.items() if name != "@odata.nextLink" or not loses}

    def group(self) -> JsonObject:
        self._require_role("GroupMember.Read.All")
        return self._entity(group_object(self.tenant.group(self._path_parameter("id"))), "groups")

    def members(self) -> JsonObject:
        self._require_role("GroupMember.Read.All")
        return self._members_page(
            self._direct_members(self.tenant.group(self._path_parameter("id"))), "directoryObjects"
        )

    def transitive_members(self) -> JsonObject:
        self._require_role("GroupMember.Read.All")
        return self._members_page(
            self._transitive_members(self.tenant.group(self._path_parameter("id"))), "directoryObjects"
        )

    def users_only(self) -> JsonObject:
        """An advanced query: each page's request must have the header and `$count`."""
        if self.request.headers.get("consistencylevel", "").casefold() != "eventual":
            raise bad_request("Request with cast requires ConsistencyLevel: eventual.", "Request_UnsupportedQuery")
        if "$skiptoken" not in self.query and self.query.get("$count") != "true":
            raise bad_request("Request with cast requires $count=true.", "Request_UnsupportedQuery")
        self._require_role("GroupMember.Read.All")
        group = self.tenant.group(self._path_parameter("id"))
        things = (
            self._direct_members(group) if "/members/" in self.request.url.path else self._transitive_members(group)
        )
        return self._members_page([thing for thing in things if isinstance(thing, Person)], "users")

    def users(self) -> JsonObject:
        """List people, all, by `accountEnabled` or by address. With both `$filter` and `$top` no next link is given."""
        self._require_role("User.Read.All")
        expression = self.query.get("$filter")
        people = list(self.tenant.directory.people.values())
        rows = [user_object(person) for person in people]
        if expression is not None:
            rows = _filter_people(rows, expression.strip())
        chosen = self._selected_fields(USER_FIELDS, "user") or DEFAULT_USER_FIELDS
        listed = self._collection([_without_type(select_fields(row, [*chosen])) for row in rows], _row_id, "users")
        loses = expression is not None and "$top" in self.query
        return {name: value for name, value in listed.items() if name != "@odata.nextLink" or not loses}

    def users_delta(self) -> JsonObject:
        self._require_role("User.Read.All")
        return self.tenant.delta_log.query("users", str(self.request.url.replace(query="")), self.query)

    def groups_delta(self) -> JsonObject:
        self._require_role("GroupMember.Read.All")
        return self.tenant.delta_log.query("groups", str(self.request.url.replace(query="")), self.query)

    def user(self) -> JsonObject:
        self._require_role("User.Read.All")
        person = self.tenant.read_person(self._path_parameter("id"))
        return self._entity(user_object(person), "users", DEFAULT_USER_FIELDS)

    def groups_of_user(self) -> JsonObject:
        self._require_role("User.Read.All")
        self._require_role("GroupMember.Read.All")
        found = self.tenant.read_groups_of(self._path_parameter("id"))
        if self.request.url.path.endswith("/transitiveMemberOf"):
            direct = {group.id for group in found}
            groups = self.tenant.directory.groups.values()
            inside = {each.id: {object_id(thing) for thing in self._transitive_members(each)} for each in groups}
            found = [each for each in groups if each.id in direct or direct & inside[each.id]]
        return self._members_page(list(found), "directoryObjects")

    def deleted(self) -> JsonObject:
        self._require_role("User.Read.All")
        row = user_object(self.tenant.deleted(self._path_parameter("id")), deleted=True)
        return self._entity(row, "directoryObjects", [*DEFAULT_USER_FIELDS, "deletedDateTime"])

    def deleted_users(self) -> JsonObject:
        self._require_role("User.Read.All")
        chosen = self._selected_fields(USER_FIELDS, "user") or [*DEFAULT_USER_FIELDS, "deletedDateTime"]
        people = list(self.tenant.directory.deleted.values())
        rows = [_without_type(select_fields(user_object(each, deleted=True), chosen)) for each in people]
        return self._collection(rows, _row_id, "users")

    def _direct_members(self, group: Group) -> list[DirectoryObject]:
        """Return a group's direct members; nested groups and devices come before the people.

        A group that hides its members has none for a token without the permission, and nothing in the answer shows why.
        """
        if group.hides_members and "Member.Read.Hidden" not in self.roles:
            return []
        directory = self.tenant.directory
        inner = [directory.groups[key] for key in group.groups if key in directory.groups]
        return [*inner, *group.devices, *directory.members(group)]

    def _transitive_members(self, group: Group) -> list[DirectoryObject]:
        """Return all members, direct or nested, each once; circles are followed once."""
        found: dict[str, DirectoryObject] = {}
        waiting = [group]
        while waiting:
            for thing in self._direct_members(waiting.pop(0)):
                if isinstance(thing, Group) and thing.id not in found:
                    waiting.append(thing)
                found.setdefault(object_id(thing), thing)
        return list(found.values())

    def _require_role(self, role: str) -> None:
        if role not in self.roles and DIRECTORY_READ_ALL not in self.roles:
            raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")

    def _path_parameter(self, name: str) -> str:
        return str(self.request.path_params[name])

    def _selected_fields(self, known: Collection[str], kind: str) -> list[str]:
        """Return the properties that `$select` names, all of them *known*."""
        names = [name.strip() for name in self.query.get("$select", "").split(",") if name.strip()]
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            raise bad_request(f"Could not find a property named '{unknown}' on type 'microsoft.graph.{kind}'.")
        return names

    def _members_page(self, things: list[DirectoryObject], what: str) -> JsonObject:
        chosen = self._selected_fields(MEMBER_FIELDS, "directoryObject")
        hides = not self.roles & {"User.Read.All", DIRECTORY_READ_ALL}

        def row(thing: DirectoryObject) -> JsonObject:
            """Without the permission to read people, a person is an id and nulls, without an error."""
            whole = directory_object(thing)
            if not isinstance(thing, Person):
                return select_fields(whole, chosen or whole)
            if hides:
                return {
                    "@odata.type": whole["@odata.type"],
                    **dict.fromkeys(chosen or DEFAULT_MEMBER_FIELDS),
                    "id": thing.id,
                }
            return select_fields(whole, chosen or DEFAULT_USER_FIELDS)

        body = self._collection(things, object_id, what)
        return {**body, "value": [row(thing) for thing in body["value"]]}

    def _entity(self, row: JsonObject, what: str, usual: list[str] | None = None) -> JsonObject:
        select = self.query.get("$select")
        names = self._selected_fields(frozenset(row) - {"@odata.type"}, what) or usual
        context = f"{self.root}/$metadata#{what}" + (f"({select})" if select else "") + "/$entity"
        return {"@odata.context": context} | _without_type(row if names is None else select_fields(row, names))

    def _collection(self, things: Sequence[T], key: Callable[[T], str], what: str) -> dict[str, Any]:
        sizes = (self.tenant.options.page_size, self.tenant.options.largest_page)
        found, token = paginate(things, key, self.query, sizes)
        select = self.query.get("$select")
        body: dict[str, object] = {
            "@odata.context": f"{self.root}/$metadata#{what}" + (f"({select})" if select else "")
        }
        if self.query.get("$count") == "true" and "$skiptoken" not in self.query:
            body["@odata.count"] = len(things)
        if token is not None:
            body["@odata.nextLink"] = next_link(str(self.request.url.replace(query="")), self.query, token)
        return body | {"value": list(found)}


def _row_id(row: JsonObject) -> str:
    return str(row["id"])


def _filter_by_name(rows: list[JsonObject], expression: str) -> list[JsonObject]:
    """Only `principalDisplayName` can be filtered by."""
    parts = NAME_FILTER.fullmatch(expression.strip())
    if parts is None:
        raise bad_request(f"Invalid filter clause: {expression}")
    if parts["is"] is not None:
        return [row for row in rows if row["principalDisplayName"] == parts["is"]]
    return [row for row in rows if str(row["principalDisplayName"] or "").startswith(parts["begins"])]


def _filter_people(rows: list[JsonObject], expression: str) -> list[JsonObject]:
    """Filter by `accountEnabled`, or by logins and mail addresses, in any case of letters."""
    if parts := ENABLED_FILTER.fullmatch(expression):
        return [row for row in rows if row["accountEnabled"] is (parts["value"] == "true")]
    terms = [ADDRESS_TERM.fullmatch(term.strip()) for term in expression.split(" or ")]
    if not all(terms):
        raise bad_request(f"Invalid filter clause: {expression}")
    wanted = [(each["name"], each["value"].replace("''", "'").lower()) for each in terms if each]
    return [row for row in rows if any(str(row[name] or "").lower() == value for name, value in wanted)]


def _without_type(row: JsonObject) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "@odata.type"}
