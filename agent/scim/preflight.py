"""Try one workspace without writing: its URL, each of its tokens, and a lookup that finds nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from agent.scim.codec import page_from_json
from agent.scim.endpoint import PROBE_URL, REFUSAL_STATUSES, Endpoint
from agent.scim.lookup import Finder
from connectors.base import CredentialsRefused, Finding, ReadError
from connectors.http import ApiResponse

__all__ = ["Preflight"]

OK = 200


class Preflight:
    """The preflight of one workspace."""

    def __init__(self, endpoint: Endpoint, finder: Finder) -> None:
        self._endpoint = endpoint
        self._finder = finder

    async def run(self, nobody: str) -> list[Finding]:
        """Return a finding for each token, and for the lookup of *nobody* when a token works. Raises nothing."""
        tokens = [await self._check_token(number) for number in range(len(self._endpoint.tokens))]
        if not any(finding.level == "ok" for finding in tokens):
            return [replace(finding, level="error") for finding in tokens]
        self._endpoint.tokens.restart()
        return [*tokens, await self._check_lookup(nobody)]

    async def _check_token(self, number: int) -> Finding:
        who = self._endpoint.name
        subject = f"{who}, token {number + 1}"
        try:
            answer = await self._request_with_token(number)
            if answer.status in REFUSAL_STATUSES:
                raise self._endpoint.api.error_from_response(answer)
            total = page_from_json(answer.json(), who).total
        except ReadError as error:
            # Where another token is accepted the workspace works, until that one expires too.
            level: Literal["warning", "error"] = "warning" if isinstance(error, CredentialsRefused) else "error"
            return Finding(level, subject, error.message, error.hint)
        return Finding("ok", subject, f"accepted; {'an unknown number of' if total is None else f'{total:,}'} members")

    async def _request_with_token(self, number: int) -> ApiResponse:
        tokens = self._endpoint.tokens
        tokens.current = number
        tokens.headers(number)
        return await self._endpoint.api.get(PROBE_URL, accept=(OK, *REFUSAL_STATUSES))

    async def _check_lookup(self, nobody: str) -> Finding:
        subject = f"{self._endpoint.name}, lookup by userName"
        try:
            found = await self._finder.find(nobody)
        except ReadError as error:
            return Finding("error", subject, error.message, error.hint)
        if found:
            return Finding(
                "error", subject, f"finds a member named {nobody}, whom nobody has", "Ask Pigment's support."
            )
        return Finding("ok", subject, "finds nobody where there is nobody")
