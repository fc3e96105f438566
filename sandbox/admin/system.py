"""Look at directories and workspaces, and throw their switches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import date

from sandbox.admin.body import BadRequest, Body
from sandbox.company import Company
from sandbox.okta import FREE, GENEROUS, WORKFORCE
from sandbox.pigment.space import PigmentSpace
from sandbox.pigment.switch import switched
from sandbox.pigment.token import Restriction, Token
from sandbox.world import World

__all__ = ["DIRECTORY_ACTIONS", "WORKSPACE_ACTIONS", "directories", "workspaces"]


def directories(company: Company) -> dict[str, object]:
    return {
        name: {
            "people": len(home.people),
            "groups": {group.name: len(group.people) for group in home.groups.values()},
            "apps": {
                app.name: [home.groups[key].name for key in app.groups if key in home.groups]
                for app in home.apps.values()
            },
        }
        for name, home in company.directories.items()
    }


def workspaces(world: World) -> dict[str, object]:
    return {name: _workspace(space) for name, space in world.pigment.spaces.items()}


def _workspace(space: PigmentSpace) -> dict[str, object]:
    members = space.members
    return {
        "members": len(members),
        "active": sum(member.active for member in members),
        "tokens": [{"secret": token.secret, "expires": token.expires} for token in space.tokens],
        "restriction": dataclasses.asdict(space.restriction),
        "switches": dataclasses.asdict(space.switches),
        "writes": len(space.journal.writes),
    }


def _unassign_group(world: World, name: str, body: Body) -> None:
    world.company.unassign_group(world.company.directory(name).pigment, body.text("group"))


def _assign_group(world: World, name: str, body: Body) -> None:
    world.company.assign_group(world.company.directory(name).pigment, body.text("group"))


def _delete_group(world: World, name: str, body: Body) -> None:
    world.company.delete_group(name, body.text("group"))


def _revoke_tokens(world: World, name: str, _: Body) -> None:
    world.company.directory(name)
    {
        "okta": world.okta.grants.revoke_all,
        "entra": world.entra.grants.revoke,
        "onelogin": world.onelogin.revoke_all,
    }[name]()


def _hide_members(world: World, name: str, body: Body) -> None:
    if name != "entra":
        raise BadRequest("Only groups of entra can hide their members.")
    world.company.directory(name).group(body.text("group")).hides_members = body.truth("on", otherwise=True)


def _grant(world: World, name: str, body: Body) -> None:
    permissions = body.texts_or_none("permissions")
    if name != "entra" or permissions is None:
        raise BadRequest("Only entra has permissions to grant: all that the application is to have.")
    world.entra.roles = frozenset(permissions)


def _limit(world: World, name: str, body: Body) -> None:
    limits = {"generous": GENEROUS, "workforce": WORKFORCE, "free": FREE}
    preset = body.text("preset")
    if name != "okta" or preset not in limits:
        raise BadRequest(f"Only okta has presets: {', '.join(limits)}.")
    world.okta.limit(limits[preset])


def _restrict(space: PigmentSpace, body: Body) -> None:
    space.restriction = Restriction(body.truth("on", otherwise=True), tuple(body.texts_or_none("domains") or ()))


def _switch(space: PigmentSpace, body: Body) -> None:
    space.switches = switched(space.switches, body.all())


def _add_token(space: PigmentSpace, body: Body) -> None:
    expires = body.text_or_none("expires")
    try:
        space.tokens.add(Token(body.text("secret"), date.fromisoformat(expires) if expires else None))
    except ValueError as error:
        raise BadRequest(f"expires must be a date: {error}.") from error


def _create(space: PigmentSpace, body: Body) -> None:
    space.by_hand_create(body.text("email"), body.text("display_name"), active=body.truth("active", otherwise=True))


DIRECTORY_ACTIONS: Mapping[str, tuple[tuple[str, ...], Callable[[World, str, Body], None]]] = {
    "assign-group": (("group",), _assign_group),
    "unassign-group": (("group",), _unassign_group),
    "delete-group": (("group",), _delete_group),
    "revoke-tokens": ((), _revoke_tokens),
    "limit": (("preset",), _limit),
    "hide-members": (("group", "on"), _hide_members),
    "grant": (("permissions",), _grant),
}
"""What can happen to a directory: the fields that it takes, and the doing."""

WORKSPACE_ACTIONS: Mapping[str, tuple[tuple[str, ...] | None, Callable[[PigmentSpace, Body], None]]] = {
    "switch": (None, _switch),
    "restrict": (("on", "domains"), _restrict),
    "add-token": (("secret", "expires"), _add_token),
    "revoke-token": (("secret",), lambda space, body: space.tokens.revoke(body.text("secret"))),
    "create": (("email", "display_name", "active"), _create),
    "rename": (
        ("email", "display_name"),
        lambda space, body: space.by_hand_rename(body.text("email"), body.text("display_name")),
    ),
    "move": (("email", "to"), lambda space, body: space.by_hand_move(body.text("email"), body.text("to"))),
    "deactivate": (("email",), lambda space, body: space.by_hand_deactivate(body.text("email"))),
    "reactivate": (("email",), lambda space, body: space.by_hand_reactivate(body.text("email"))),
    "remove": (("email",), lambda space, body: space.by_hand_remove(body.text("email"))),
}
"""What an administrator can do to a workspace by hand: the fields that it takes (None: its switches), and the doing."""
