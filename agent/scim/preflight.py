"""Check one workspace without writing: its URL, each token, and a lookup without a match."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from agent.scim.codec import page_from_json
from agent.scim.endpoint import PROBE_URL, REFUSAL_STATUSES, Endpoint
from agent.scim.lookup import Finder
from connectors.base import Area, CheckName, CredentialsRefused, Finding, ReadError
from connectors.http import ApiResponse

__all__ = ["Preflight"]

OK = 200
_finding = partial(Finding, area=Area.WORKSPACE)


class Preflight:
    """The preflight of one workspace."""

    def __init__(self, endpoint: Endpoint, finder: Finder) -> None:
        self._endpoint = endpoint
        self._finder = finder

    async def run(self, unknown_name: str) -> list[Finding]:
        """Return a finding for each token, and for the lookup of *unknown_name* when a token works. Raises nothing."""
        tokens = [await self._check_token(number) for number in range(len(self._endpoint.tokens))]
        if not any(finding.level == "ok" for finding in tokens):
            return [replace(finding, level="error") for finding in tokens]
        self._endpoint.tokens.restart()
        return [*tokens, await self._check_lookup(unknown_name)]

    async def _check_token(self, number: int) -> Finding:
        who = self._endpoint.name
        subject = f"{who}, token {number + 1}"
        try:
            response = await self._request_with_token(number)
            if response.status in REFUSAL_STATUSES:
                raise self._endpoint.api.error_from_response(response)
            total = page_from_json(response.json(), who, response.request_id_label).total
        except ReadError as error:
            # If another token is accepted, the workspace works until that one expires too.
            level: Literal["warning", "error"] = "warning" if isinstance(error, CredentialsRefused) else "error"
            return _finding(level, subject, error.message, error.hint, name=CheckName.TOKEN)
        return _finding(
            "ok",
            subject,
            f"accepted; {'an unknown number of' if total is None else f'{total:,}'} members",
            name=CheckName.TOKEN,
        )

    async def _request_with_token(self, number: int) -> ApiResponse:
        tokens = self._endpoint.tokens
        tokens.current = number
        tokens.headers(number)
        return await self._endpoint.api.get(PROBE_URL, accept=(OK, *REFUSAL_STATUSES))

    async def _check_lookup(self, unknown_name: str) -> Finding:
        subject = f"{self._endpoint.name}, lookup by userName"
        try:
            found = await self._finder.find(unknown_name)
        except ReadError as error:
            return _finding("error", subject, error.message, error.hint, name=CheckName.UNKNOWN_NAME)
        if found:
            return _finding(
                "error",
                subject,
                f"returns a member for the unknown name {unknown_name}",
                "Ask Pigment's support.",
                name=CheckName.UNKNOWN_NAME,
            )
        return _finding("ok", subject, "an unknown name returns no member", name=CheckName.UNKNOWN_NAME)
