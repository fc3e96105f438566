"""Let things happen to people: `POST /people` and `POST /people/{email or id}/{what}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.admin.body import BadRequest, RequestBody
from sandbox.company import Company, Person

__all__ = ["ACTIONS", "hire", "list_people", "perform_action", "person_to_json"]


def person_to_json(company: Company, person: Person) -> dict[str, object]:
    home = company.directory(person.directory)
    return {
        "directory": person.directory,
        "id": person.id,
        "email": person.email,
        "given": person.given,
        "family": person.family,
        "display_name": person.display_name,
        "status": person.status,
        "guest": person.guest,
        "aliases": person.aliases,
        "groups": [group.name for group in home.groups_of(person.id) if not group.is_built_in],
        "individually_assigned": person.id in home.pigment.individuals,
        "deleted": person.id in home.deleted,
    }


def list_people(company: Company, directory: str, text: str) -> list[dict[str, object]]:
    """Return the people of *directory* (empty: of all) whose name or address holds *text*."""
    people = list(company.directory(directory).people.values()) if directory else company.everyone()
    wanted = text.casefold()
    return [
        person_to_json(company, person)
        for person in people
        if wanted in f"{person.display_name} {person.given} {person.family} {person.email}".casefold()
    ]


def hire(company: Company, body: RequestBody) -> Person:
    body.refuse_unknown("directory", "given", "family", "groups", "email")
    return company.hire(
        body.text("directory"),
        body.text("given"),
        body.text("family"),
        body.text_list_or_none("groups") or [],
        body.text_or_none("email"),
    )


def perform_action(company: Company, key: str, action: str, body: RequestBody) -> Person:
    """Let *action* happen to the person *key*."""
    if action not in ACTIONS:
        raise BadRequest(f"There is no {action!r}; there are {', '.join(sorted(ACTIONS))}.")
    fields, act = ACTIONS[action]
    body.refuse_unknown(*fields)
    return act(company, key, body)


Action = Callable[[Company, str, RequestBody], Person]


def _rename(company: Company, key: str, body: RequestBody) -> Person:
    given, family, email = (body.text_or_none(name) for name in ("given", "family", "email"))
    if given is family is email is None:
        raise BadRequest("One of given, family and email is needed.")
    return company.rename(key, given, family, email)


ACTIONS: Mapping[str, tuple[tuple[str, ...], Action]] = {
    "leave": ((), lambda company, key, _: company.leave(key)),
    "deactivate": ((), lambda company, key, _: company.deactivate(key)),
    "suspend": ((), lambda company, key, _: company.suspend(key)),
    "reinstate": ((), lambda company, key, _: company.reinstate(key)),
    "delete": ((), lambda company, key, _: company.delete(key)),
    "rehire": (("groups",), lambda company, key, body: company.rehire(key, body.text_list_or_none("groups"))),
    "rename": (("given", "family", "email"), _rename),
    "marry": (("family",), lambda company, key, body: company.marry(key, body.text("family"))),
    "move": (("from", "to"), lambda company, key, body: company.move(key, body.text("from"), body.text("to"))),
    "join": (("group",), lambda company, key, body: company.join(key, body.text("group"))),
    "quit": (("group",), lambda company, key, body: company.quit(key, body.text("group"))),
    "assign": ((), lambda company, key, _: company.assign_individually(key)),
    "unassign": ((), lambda company, key, _: company.unassign_individually(key)),
}
"""What can happen to a person: the fields that it takes, and the doing."""
