"""One workspace's SCIM endpoint: every request to it passes here, with the token that works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from urllib.parse import quote

from agent.errors import WorkspaceGone, WriteError
from agent.scim.codec import scim_type
from agent.scim.token import Tokens
from connectors.base import ReadError
from connectors.rest import HEALING, Answer, Api, NoAnswer, NotSent

__all__ = ["REFUSALS", "Endpoint", "error_type", "user_path"]

REFUSALS = frozenset({401, 403})
TOO_MANY = frozenset({429})
UNSUPPORTED_MEDIA = 415
SCIM_JSON, PLAIN_JSON = "application/scim+json", "application/json"


def user_path(scim_id: str) -> str:
    """Return the path of a member. Raises `WriteError` for the two ids that no URL can hold."""
    if scim_id in {".", ".."}:
        raise WriteError(f"The SCIM id {scim_id} can't stand in a URL.", "Ask Pigment's support what this member is.")
    return f"Users/{quote(scim_id, safe='')}"


def error_type(answer: Answer) -> str:
    """Return the `scimType` of an error answer; empty when it has none, or no JSON."""
    try:
        return scim_type(answer.json())
    except ReadError:
        return ""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    json: object
    etag: str = ""


class Endpoint:
    """Reads and writes below a `scim_url`, failing over from token to token."""

    def __init__(self, api: Api, tokens: Tokens) -> None:
        self.api = api
        self.tokens = tokens
        self._media = SCIM_JSON

    @property
    def who(self) -> str:
        return self.api.who

    async def read(self, url: str, accept: Collection[int] = (200,)) -> Answer:
        """GET, retried. Raises `ReadError`: `CredentialsRefused` when every token was refused."""
        answer = await self._admitted(lambda: self.api.get(url, accept=(*accept, *REFUSALS)))
        if answer.status in REFUSALS:
            raise self.api.refusal(answer)
        return answer

    async def repeat(self, method: str, url: str, json: object, etag: str = "") -> Answer:
        """PUT or PATCH, retried as far as the bounds go: doing it twice does no more than once.

        Returns the last answer. Raises `NotSent`, `NoAnswer` or `WorkspaceGone`.
        """
        return await self._attempts(_Request(method, url, json, etag), HEALING, (NotSent, NoAnswer))

    async def post(self, url: str, json: object) -> Answer:
        """POST, retried only when it surely was not done: not sent, or refused by a limit (429).

        Raises `NotSent`, `NoAnswer` or `WorkspaceGone`.
        """
        return await self._attempts(_Request("POST", url, json), TOO_MANY, (NotSent,))

    async def _attempts(
        self, request: _Request, healing: frozenset[int], transient: tuple[type[Exception], ...]
    ) -> Answer:
        patience = self.api.patience(healing, transient)

        async def once() -> Answer:
            headers = {"Content-Type": self._media, **({"If-Match": request.etag} if request.etag else {})}
            return await self.api.send(
                request.method, request.url, json=request.json, headers=headers, patience=patience
            )

        async def admitted() -> Answer:
            answer = await self._admitted(once)
            if answer.status == UNSUPPORTED_MEDIA and self._media == SCIM_JSON:
                self._media = PLAIN_JSON
                answer = await self._admitted(once)
            return answer

        try:
            answer = await patience.attempt(admitted)
        except ReadError as error:
            raise WorkspaceGone(error.message, error.hint) from error
        if answer.status in REFUSALS:
            raise WorkspaceGone(
                f"{self.who} refuses every token: {answer.status} to {request.method}{self.api.said(answer)}.",
                "Put a token that has not expired or been revoked into `tokens`, and check that SCIM is on in Pigment.",
            )
        return answer

    async def _admitted(self, once: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the first answer that accepts a token, else the refusal of the last one."""
        while True:
            held = self.tokens.current
            answer = await once()
            if answer.status not in REFUSALS or not self.tokens.move_on(held, answer.status):
                return answer
