"""One directory of the company: people, groups (OneLogin: roles) and the applications that they are assigned to."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from sandbox.company.identifier import new_id
from sandbox.company.person import Person

__all__ = ["AddressTaken", "App", "CompanyError", "Directory", "Group", "NotFound", "StatusWords", "normalize_address"]


Thing = TypeVar("Thing", "Group", "App")


class CompanyError(ValueError):
    """An impossible change in the company; the message is for a person."""


class NotFound(CompanyError):
    """There is no such person, group, application or directory."""


class AddressTaken(CompanyError):
    """Another person of the directory has the address."""


class StatusWords(NamedTuple):
    """The provider's values for a person's status."""

    active: str
    suspended: str
    deactivated: str


@dataclass(slots=True)
class Group:
    """A group, or a OneLogin role. *people* and *groups* (nested ones, Entra) are ids. *devices* are ids too (Entra).

    *kind* is Okta's type: `OKTA_GROUP`, `BUILT_IN`, `APP_GROUP`. *hides_members* is Entra's hidden membership.
    """

    id: str
    name: str
    people: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    kind: str = "OKTA_GROUP"
    hides_members: bool = False

    @property
    def is_built_in(self) -> bool:
        """Everyone is in it, always."""
        return self.kind == "BUILT_IN"


@dataclass(slots=True)
class App:
    """An application. *groups* and *individuals* (people assigned directly) are ids. *client_id* is Entra's `appId`."""

    id: str
    name: str
    groups: list[str] = field(default_factory=list)
    individuals: list[str] = field(default_factory=list)
    client_id: str = ""
    active: bool = True


@dataclass(slots=True)
class Directory:
    """What one identity provider knows. *name* is `okta`, `entra` or `onelogin`; *deleted* are the deleted people."""

    name: str
    status_words: StatusWords
    rng: random.Random = field(repr=False)
    people: dict[str, Person] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    deleted: dict[str, Person] = field(default_factory=dict)
    id_by_address: dict[str, str] = field(default_factory=dict)

    @property
    def pigment(self) -> App:
        """The application that stands for Pigment."""
        return next(app for app in self.apps.values() if app.name.startswith("Pigment"))

    def new_id(self, kind: str) -> str:
        """Return an id of this provider's shape; *kind* is `person`, `group` or `app`."""
        return new_id(self.name, kind, self.rng)

    def person(self, key: str) -> Person | None:
        """Return the person with this id or, in any case, this sign-in address."""
        return self.people.get(key) or self.people.get(self.id_by_address.get(normalize_address(key), ""))

    def group(self, key: str) -> Group:
        """Return the group with this id or name; raise `NotFound`."""
        return _find(self.groups, key, f"group in {self.name}")

    def app(self, key: str) -> App:
        """Return the application with this id or name; raise `NotFound`."""
        return _find(self.apps, key, f"application in {self.name}")

    def add_group(self, name: str, kind: str = "OKTA_GROUP") -> Group:
        group = Group(self.new_id("group"), name, kind=kind)
        self.groups[group.id] = group
        return group

    def add_app(self, name: str, groups: tuple[Group, ...] = ()) -> App:
        app = App(self.new_id("app"), name, [group.id for group in groups], client_id=self.new_id("app"))
        self.apps[app.id] = app
        return app

    def groups_of(self, person_id: str) -> list[Group]:
        return [group for group in list(self.groups.values()) if person_id in group.people]

    def members(self, group: Group) -> Iterator[Person]:
        """Yield the people who are in *group* directly, whatever their status, in the order in which they joined."""
        return (self.people[key] for key in list(group.people) if key in self.people)

    def assignments(self, app: App) -> dict[str, list[str]]:
        """Return everyone who is assigned to *app*: person id -> ids of the groups that give it, none if individually.

        Groups come in the order in which they were assigned (the first has Okta's highest priority); nesting gives
        nothing. Statuses do not matter.
        """
        found: dict[str, list[str]] = {}
        for group_id in list(app.groups):
            for person in self.members(self.groups[group_id]) if group_id in self.groups else ():
                found.setdefault(person.id, []).append(group_id)
        for person_id in list(app.individuals):
            found.setdefault(person_id, [])
        return found


def normalize_address(address: str) -> str:
    return unicodedata.normalize("NFC", address).casefold()


def _find(things: dict[str, Thing], key: str, what: str) -> Thing:
    found = things.get(key) or next((each for each in things.values() if each.name == key), None)
    if found is None:
        names = ", ".join(sorted(each.name for each in things.values()))
        raise NotFound(f"There is no {what} called {key!r}; there are {names}.")
    return found
