"""Read one OneLogin account: whole snapshots of its applications, or an error."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from connectors.base import Finding, IncompleteRead, Progress, Snapshot, Source, Status, Whereabouts, silent
from connectors.onelogin import endpoint
from connectors.onelogin.account import Account
from connectors.onelogin.assembly import assignments, snapshot
from connectors.onelogin.checkup import findings
from connectors.onelogin.credential import Tokens
from connectors.onelogin.directory import Directory
from connectors.onelogin.pace import OneLoginPace
from connectors.onelogin.portrait import Portrait, status_words
from connectors.onelogin.row import role_ids, user_from_json
from connectors.onelogin.settings import OneLoginSettings
from connectors.rest import DEFAULT_BOUNDS, REAL_TIME, Api, Bounds, Timer

__all__ = ["OneLoginConnector"]


class OneLoginConnector:
    """Implements `connectors.base.Connector`. One instance lives for one command or tick, and reads a role once."""

    def __init__(
        self,
        name: str,
        settings: OneLoginSettings,
        client: httpx.AsyncClient,
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        timer: Timer = REAL_TIME,
        progress: Progress = silent,
    ) -> None:
        who = f"OneLogin ({name})"
        tokens = Tokens(who, settings, client, bounds, timer)
        pace = OneLoginPace(who, bounds.max_wait_seconds, timer)
        self._api = Api(
            who, settings.base_url, client, tokens, bounds=bounds, pace=pace, promise=pace.promise, timer=timer
        )
        self._account = Account(self._api, progress)
        self.forget()
        self._portrait = Portrait(name, settings.entitled_statuses)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far, those for tokens aside."""
        return self._api.requests

    def forget(self) -> None:
        self._directory = Directory(self._account)
        self._fresh = Directory(self._account)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        """Return everyone who is assigned to the application. OneLogin has one address of each: `mail` is `login`."""
        directory = self._fresh if fresh else self._directory
        read = await directory.read(source)
        assigned = assignments(read)
        ignored = [key for key, each in assigned.items() if not each.groups] if source.ignores_individuals else []
        users, unread = await directory.users(sorted(assigned), frozenset(ignored))
        return snapshot(read, users, source, self._portrait, unread)

    async def lookup(self, person_id: str, _source: Source, /) -> Whereabouts:
        """Return what has become of one person. OneLogin forgets those it deletes."""
        found = await self._account.find(endpoint.user(person_id))
        if found is None:
            return Whereabouts(Status.DELETED)
        user, roles = user_from_json(found), role_ids(found)
        if user.id != person_id:
            raise IncompleteRead(
                f"{self._api.who} answered with another user than {person_id}.",
                "Try again later; if it persists, report it to OneLogin's support.",
            )
        status, word = self._portrait.status(user), status_words(user)
        if roles is None:
            error = f"{self._api.who} does not show all roles of user {person_id}: its role_ids are not a list of ids."
            return Whereabouts(status, word, groups_failure="no usable answer", groups_error=error)
        return Whereabouts(status, word, frozenset(roles))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return await findings(self._name, self._account, self._directory, sources, self.lookup)
