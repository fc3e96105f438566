"""Changes to people: hire, leave, marry, suspend, move. The only place that changes them."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from sandbox.company.directory import AddressTaken, App, CompanyError, Directory, Group, NotFound, normalize_address
from sandbox.company.events import EventLog, Happening
from sandbox.company.person import Person

__all__ = ["Company"]

START_TIME = datetime(2026, 11, 2, 9, tzinfo=UTC)
TRANSLITERATION = str.maketrans(
    {
        "ß": "ss",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "æ": "ae",
        "ð": "d",
        "þ": "th",
        "Þ": "Th",
        "ı": "i",
    }
)


class Company:
    """The people of all directories. A person may be given as themselves, by id, or by sign-in address in any case.

    A method that raises `CompanyError` (`NotFound`, `AddressTaken`) has changed nothing. *version* grows with each
    change, and the company's clock goes on by a second with it. *log* has what happened, by the time of *wall*.
    """

    def __init__(self, seed: int, directories: Iterable[Directory], wall: Callable[[], float] = time.time) -> None:
        self.seed = seed
        self.directories = {directory.name: directory for directory in directories}
        self.version = 0
        self.log = EventLog(wall)

    @property
    def okta(self) -> Directory:
        return self.directories["okta"]

    @property
    def entra(self) -> Directory:
        return self.directories["entra"]

    @property
    def onelogin(self) -> Directory:
        return self.directories["onelogin"]

    @property
    def now(self) -> datetime:
        """The company's time: that of the last change."""
        return START_TIME + timedelta(seconds=self.version)

    def directory(self, name: str) -> Directory:
        if name not in self.directories:
            raise NotFound(f"There is no directory {name!r}; there are {', '.join(self.directories)}.")
        return self.directories[name]

    def everyone(self) -> list[Person]:
        return [person for directory in self.directories.values() for person in list(directory.people.values())]

    def person(self, key: str | Person) -> Person:
        """Return the person with this id or sign-in address; raise `NotFound`."""
        if isinstance(key, Person):
            return key
        found = next(filter(None, (directory.person(key) for directory in self.directories.values())), None)
        if found is None:
            raise NotFound(f"There is no person with the id or the address {key!r}.")
        return found

    def groups_of(self, key: str | Person) -> list[Group]:
        person = self.person(key)
        return self.directories[person.directory].groups_of(person.id)

    def hire(
        self, directory: str, given: str, family: str, groups: Iterable[str] = (), email: str | None = None
    ) -> Person:
        """Add an active person; *groups* are ids or names. Without *email* the address is made from the name."""
        home = self.directory(directory)
        joined = [home.group(group) for group in groups]
        address = email or unused_address(home, given, family)
        _require_unused(home, address)
        now = self._advance_clock()
        person = Person(
            home.name, home.new_id("person"), address, given, family, home.status_words.active, now, now, now, address
        )
        home.people[person.id] = person
        home.id_by_address[normalize_address(address)] = person.id
        built_in = [group for group in home.groups.values() if group.is_built_in]
        self._record(person, Happening.HIRED)
        for group in (*joined, *built_in):
            group.people.append(person.id)
            self._record(person, Happening.JOINED, group.id)
        return person

    def leave(self, key: str | Person) -> Person:
        """Deactivate a person and remove them from all groups and applications."""
        person = self.person(key)
        home = self.directories[person.directory]
        person.left_groups = [
            group.id for group in home.groups_of(person.id) if not group.is_built_in
        ] or person.left_groups
        self._remove_from_groups_and_apps(home, person)
        return self._set_status(person, home.status_words.deactivated, Happening.DEACTIVATED)

    def deactivate(self, key: str | Person) -> Person:
        """Deactivate a person who stays in their groups, as Okta does it."""
        person = self.person(key)
        words = self.directories[person.directory].status_words
        return self._set_status(person, words.deactivated, Happening.DEACTIVATED)

    def suspend(self, key: str | Person) -> Person:
        person = self.person(key)
        words = self.directories[person.directory].status_words
        return self._set_status(person, words.suspended, Happening.SUSPENDED)

    def reinstate(self, key: str | Person) -> Person:
        person = self.person(key)
        words = self.directories[person.directory].status_words
        return self._set_status(person, words.active, Happening.REINSTATED)

    def rehire(self, key: str | Person, groups: Iterable[str] | None = None) -> Person:
        """Bring a leaver back, into *groups* or, without any, those that they left."""
        person = self.person(key)
        home = self.directories[person.directory]
        joined = [home.group(group) for group in (person.left_groups if groups is None else groups)]
        for group in joined:
            self._join(person, group)
        person.left_groups = []
        return self._set_status(person, home.status_words.active, Happening.REINSTATED)

    def rename(
        self, key: str | Person, given: str | None = None, family: str | None = None, email: str | None = None
    ) -> Person:
        """Change what is given: names, the address, or both. In Entra the old address stays as an alias."""
        person = self.person(key)
        home = self.directories[person.directory]
        if email is not None and normalize_address(email) != normalize_address(person.email):
            _require_unused(home, email)
        person.changed = self._advance_clock()
        person.given, person.family = given or person.given, family or person.family
        if given or family:
            person.custom_display_name = ""
        if email is not None:
            _change_address(home, person, email)
        self._record(person, Happening.RENAMED)
        return person

    def marry(self, key: str | Person, new_family: str) -> Person:
        """Change the family name, and the address with it."""
        person = self.person(key)
        home = self.directories[person.directory]
        address = unused_address(home, person.given, new_family, person.email.rpartition("@")[2])
        return self.rename(person, family=new_family, email=address)

    def swap_emails(self, one: str | Person, other: str | Person) -> None:
        """Swap the addresses of two people of one directory, in one step."""
        first, second = self.person(one), self.person(other)
        if first.directory != second.directory:
            raise CompanyError("Only people of one directory can swap their addresses.")
        home = self.directories[first.directory]
        first.changed = second.changed = self._advance_clock()
        first_email, second_email = first.email, second.email
        for person, address in ((first, second_email), (second, first_email)):
            person.email = person.mail = address
            home.id_by_address[normalize_address(address)] = person.id
            self._record(person, Happening.RENAMED)

    def delete(self, key: str | Person) -> Person:
        """Delete a person; they stay in `Directory.deleted`, and their address is free."""
        person = self.person(key)
        home = self.directories[person.directory]
        person.left_groups = [group.id for group in home.groups_of(person.id) if not group.is_built_in]
        self._remove_from_groups_and_apps(home, person)
        for group in home.groups_of(person.id):
            group.people.remove(person.id)
        person.changed = self._advance_clock()
        self._record(person, Happening.DELETED)
        del home.people[person.id]
        home.id_by_address.pop(normalize_address(person.email), None)
        home.deleted[person.id] = person
        return person

    def restore(self, person: Person) -> Person:
        """Bring a deleted person back, into the groups that they were in, as Entra does it."""
        home = self._require_deleted(person)
        _require_unused(home, person.email)
        person.changed = self._advance_clock()
        del home.deleted[person.id]
        home.people[person.id] = person
        home.id_by_address[normalize_address(person.email)] = person.id
        for key in person.left_groups:
            if key in home.groups:
                home.groups[key].people.append(person.id)
        self._record(person, Happening.RESTORED)
        return person

    def purge(self, person: Person) -> Person:
        """Remove a deleted person for good, as Entra does it after 30 days."""
        home = self._require_deleted(person)
        self._advance_clock()
        del home.deleted[person.id]
        self._record(person, Happening.PURGED)
        return person

    def _require_deleted(self, person: Person) -> Directory:
        home = self.directories[person.directory]
        if person.id not in home.deleted:
            raise NotFound(f"{person.email} is not among the deleted people of {home.name}.")
        return home

    def move(self, key: str | Person, from_group: str, to_group: str) -> Person:
        person = self.person(key)
        home = self.directories[person.directory]
        old, new = home.group(from_group), home.group(to_group)
        if person.id not in old.people:
            raise CompanyError(f"{person.email} is not in {old.name}.")
        self._advance_clock()
        self._quit(person, old)
        self._join(person, new)
        return person

    def join(self, key: str | Person, group: str) -> Person:
        person = self.person(key)
        joined = self.directories[person.directory].group(group)
        self._advance_clock()
        self._join(person, joined)
        return person

    def quit(self, key: str | Person, group: str) -> Person:
        """Remove a person from one group; nothing else about them changes."""
        person = self.person(key)
        left = self.directories[person.directory].group(group)
        if person.id not in left.people:
            raise CompanyError(f"{person.email} is not in {left.name}.")
        self._advance_clock()
        self._quit(person, left)
        return person

    def assign_group(self, app: App, group: str) -> None:
        assigned = self._directory_of(app).group(group)
        self._advance_clock()
        if assigned.id not in app.groups:
            app.groups.append(assigned.id)
            self.log.add(self._directory_of(app).name, Happening.GROUP_ASSIGNED, group=assigned.id, app=app.id)

    def unassign_group(self, app: App, group: str) -> None:
        """Remove a group from an application; the group and its people stay."""
        unassigned = self._directory_of(app).group(group)
        if unassigned.id not in app.groups:
            raise CompanyError(f"{unassigned.name} is not assigned to {app.name}.")
        self._advance_clock()
        app.groups.remove(unassigned.id)
        self.log.add(self._directory_of(app).name, Happening.GROUP_UNASSIGNED, group=unassigned.id, app=app.id)

    def delete_group(self, directory: str, group: str) -> Group:
        """Delete a group; in Entra its assignments stay, as in the real one."""
        home = self.directory(directory)
        removed = home.group(group)
        self._advance_clock()
        self.log.add(home.name, Happening.GROUP_DELETED, group=removed.id)
        del home.groups[removed.id]
        if home.name != "entra":
            for app in home.apps.values():
                app.groups = [each for each in app.groups if each != removed.id]
        return removed

    def assign_individually(self, key: str | Person, app: App | None = None) -> Person:
        """Assign a person to *app* (without one: Pigment) directly, in addition to their groups."""
        person = self.person(key)
        assigned = app or self.directories[person.directory].pigment
        self._advance_clock()
        if person.id not in assigned.individuals:
            assigned.individuals.append(person.id)
            self._record(person, Happening.ASSIGNED, app=assigned.id)
        return person

    def unassign_individually(self, key: str | Person, app: App | None = None) -> Person:
        person = self.person(key)
        assigned = app or self.directories[person.directory].pigment
        if person.id not in assigned.individuals:
            raise CompanyError(f"{person.email} is not assigned to {assigned.name} individually.")
        self._advance_clock()
        assigned.individuals.remove(person.id)
        self._record(person, Happening.UNASSIGNED, app=assigned.id)
        return person

    def _directory_of(self, app: App) -> Directory:
        return next(home for home in self.directories.values() if home.apps.get(app.id) is app)

    def _remove_from_groups_and_apps(self, home: Directory, person: Person) -> None:
        for group in home.groups_of(person.id):
            if not group.is_built_in:
                self._quit(person, group)
        for app in home.apps.values():
            if person.id in app.individuals:
                app.individuals.remove(person.id)
                self._record(person, Happening.UNASSIGNED, app=app.id)

    def _join(self, person: Person, group: Group) -> None:
        if person.id not in group.people:
            group.people.append(person.id)
            self._record(person, Happening.JOINED, group.id)

    def _quit(self, person: Person, group: Group) -> None:
        group.people.remove(person.id)
        self._record(person, Happening.QUIT, group.id)

    def _set_status(self, person: Person, status: str, happening: Happening) -> Person:
        person.status = status
        person.changed = person.status_changed = self._advance_clock()
        self._record(person, happening)
        return person

    def _record(self, person: Person, happening: Happening, group: str = "", app: str = "") -> None:
        self.log.add(person.directory, happening, person.id, group, app)

    def _advance_clock(self) -> datetime:
        self.version += 1
        return self.now


def unused_address(home: Directory, given: str, family: str, domain: str = "acme.com") -> str:
    """Return `given.family@domain` in plain letters, with a number behind it when the address is taken."""
    local = ".".join(filter(None, (_ascii_letters(given), _ascii_letters(family)))) or "person"
    tries = (f"{local}{number or ''}@{domain}" for number in range(len(home.people) + 2))
    return next(address for address in tries if normalize_address(address) not in home.id_by_address)


def _ascii_letters(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.translate(TRANSLITERATION)).casefold()
    return "".join(letter for letter in letters if letter.isascii() and letter.isalnum())


def _require_unused(home: Directory, address: str) -> None:
    if normalize_address(address) in home.id_by_address:
        raise AddressTaken(f"Another person in {home.name} already signs in as {address}.")


def _change_address(home: Directory, person: Person, address: str) -> None:
    home.id_by_address.pop(normalize_address(person.email), None)
    home.id_by_address[normalize_address(address)] = person.id
    if home.name == "entra" and normalize_address(person.email) != normalize_address(address):
        person.aliases.append(person.email)
    person.mail = address if person.mail == person.email else person.mail
    person.email = address
