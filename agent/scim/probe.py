"""The single requests of `probe`: the same endpoint, tokens, pace and retries as a run, and no conclusions."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.errors import WorkspaceUnreachable, WriteLost
from agent.model import Fields, Member
from agent.ports.probe import PatchOperation, ProbeAnswer, ProbePage
from agent.scim.codec import attribute, member_from_json, page_from_json, scim_type
from agent.scim.endpoint import Endpoint, user_path
from agent.scim.lookup import filter_query
from agent.scim.payloads import PATCH_SCHEMA, create_payload, replace_payload
from connectors.base import ReadError
from connectors.http import ApiResponse, NoResponse, RequestNotSent, is_rate_limit

__all__ = ["EndpointRequests"]

ANSWERED = (200, 204, 400, 404, 405, 406, 409, 410, 412, 415, 422, 501)
"""Statuses of a GET that show something about the server; others are retried, and end the probe."""

FILTER_COUNT = 100
NOT_IMPLEMENTED, PRECONDITION_REQUIRED = 501, 428


@dataclass(frozen=True, slots=True)
class EndpointRequests:
    """Implements `agent.ports.probe.ProbeRequests`."""

    endpoint: Endpoint

    async def get(self, scim_id: str) -> ProbeAnswer:
        response = await self.endpoint.read(user_path(scim_id), ANSWERED)
        answer = _answer(response)
        if answer.member is None or answer.member.etag:
            return answer
        return replace(answer, member=replace(answer.member, etag=response.headers.get("etag", "")))

    async def fetch_page(self, start: int, count: int) -> ProbePage:
        return self._page(await self.endpoint.read(f"Users?startIndex={start}&count={count}", ANSWERED))

    async def filter(self, attribute: str, value: str) -> ProbePage:
        url = f"Users?{filter_query(value, FILTER_COUNT, attribute)}"
        return self._page(await self.endpoint.read(url, ANSWERED))

    async def get_groups(self) -> int:
        return (await self.endpoint.read("Groups?startIndex=1&count=1", ANSWERED)).status

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> ProbeAnswer:
        body = create_payload(email, display_name, given_name, family_name)
        try:
            response = await self.endpoint.post("Users", body)
        except (NoResponse, RequestNotSent) as error:
            raise self._no_answer_error("POST", error) from error
        return _answer(self._require_answer("POST", response))

    async def replace(
        self,
        member: Member,
        *,
        email: str | None = None,
        active: bool | Literal["omitted"],
        extra: Mapping[str, object] | None = None,
    ) -> ProbeAnswer:
        body = replace_payload(member, Fields(email=email), active=active is True)
        if active == "omitted":
            del body["active"]
        return await self._update("PUT", member.scim_id, {**body, **(extra or {})})

    async def patch(self, scim_id: str, operations: Sequence[PatchOperation]) -> ProbeAnswer:
        rows = [{"op": op, "path": path, "value": value} for op, path, value in operations]
        return await self._update("PATCH", scim_id, {"schemas": [PATCH_SCHEMA], "Operations": rows})

    async def _update(self, method: str, scim_id: str, body: Mapping[str, object]) -> ProbeAnswer:
        url = user_path(scim_id)
        try:
            response = (await self.endpoint.send_idempotent(method, url, body)).response
            if response.status == PRECONDITION_REQUIRED:
                version = await self._read_version(url)
                response = (await self.endpoint.send_idempotent(method, url, body, version)).response
        except (NoResponse, RequestNotSent) as error:
            raise self._no_answer_error(method, error) from error
        return _answer(self._require_answer(method, response))

    async def _read_version(self, url: str) -> str:
        response = await self.endpoint.read(url)
        member = member_from_json(response.json())
        shown = member.etag if member is not None else ""
        return shown or str(response.headers.get("etag", ""))

    def _page(self, response: ApiResponse) -> ProbePage:
        if response.status != 200:
            return ProbePage(response.status)
        document = response.json()
        page = page_from_json(document, self.endpoint.name)
        total = attribute(document, "totalResults") if isinstance(document, dict) else None
        is_number = isinstance(total, int) and not isinstance(total, bool)
        return ProbePage(
            response.status, page.members, page.row_count, page.total if is_number else None, page.cursor is not None
        )

    def _require_answer(self, method: str, response: ApiResponse) -> ApiResponse:
        """Return *response*. Raises `WriteLost` for one that shows nothing about the server, only about the moment."""
        is_temporary = response.status >= 500 and response.status != NOT_IMPLEMENTED
        if not is_temporary and not is_rate_limit(response.status, response.headers):
            return response
        raise WriteLost(
            f"{self.endpoint.name} answered {response.status} to {method}"
            f"{self.endpoint.api.response_excerpt(response)}.",
            "Try again later; if it persists, check Pigment's status page.",
        )

    def _no_answer_error(self, method: str, error: NoResponse | RequestNotSent) -> WorkspaceUnreachable:
        return WorkspaceUnreachable(
            f"{self.endpoint.name} gave no answer to {method} ({error}).",
            "Check the network and Pigment's status page.",
        )


def _answer(response: ApiResponse) -> ProbeAnswer:
    try:
        document = response.json() if response.body else None
    except ReadError:
        document = None
    resource = document if isinstance(document, dict) else {}
    return ProbeAnswer(
        response.status,
        scim_type(document),
        member_from_json(document) if 200 <= response.status < 300 else None,
        resource,
        response.body.startswith(BOM_UTF8),
    )
