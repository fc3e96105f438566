"""Read the people and groups of Okta applications with Okta's own SDK: `python -m`, in a process of its own.

The only module that imports `okta`. Its pages are followed here, and every error is checked: the SDK's own pager stops
at the first error and returns what it has. Source of its behaviour: docs/adr/0001-okta-without-the-sdk.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from agent.compare.answers import Answers, ReaderFailed, run_reader
from connectors.base import ReadError
from connectors.http import DEFAULT_LIMITS, REAL_TIME
from connectors.http.tls import tls_context
from connectors.secret import Secret

__all__ = ["SdkReader"]

SCOPES = ["okta.apps.read", "okta.groups.read", "okta.users.read"]
MAX_PAGES = 20_000
ROWS_IN_LINE = 500
NEXT_LINK = re.compile(r"<([^<>]*)>\s*;[^,<]*rel=\"?next\"?", re.IGNORECASE)
LATER_HINT = "Try again later; if it persists, compare this request with Okta's status page. Nothing was compared."
EC_KEY_NOTE = (
    "The SDK signs with RSA keys only, so pigment-sync got the access token with this connector's EC key; what the SDK "
    "read is its own."
)
EC_KEY_HINT = "Compare with an export of Okta instead (docs/compare.md). Nothing was compared."
ODD_RECORD_HINT = (
    "The SDK accepts only the values that its models list, and refuses a page for one other value. This is no fault of "
    "the run: pigment-sync reads such records one by one. Compare with an export of Okta instead (docs/compare.md)."
)


def _recording_client(base: type) -> type:
    """Return the SDK's HTTP client, with a memory: of a failure it keeps only an `AttributeError` of its own."""

    class RecordingClient(base):  # type: ignore[misc]
        failure = ""
        links: tuple[str, ...] = ()

        async def send_request(self, request: dict[str, Any]) -> Any:
            headers = request["headers"]
            given = headers.get("Authorization", "")
            for scheme in ("SSWS", "Bearer"):
                if given.startswith(scheme) and not given.startswith(f"{scheme} "):
                    # Okta documents a space, and the SDK leaves it out.
                    headers["Authorization"] = f"{scheme} {given.removeprefix(scheme)}"
            RecordingClient.failure, RecordingClient.links = "", ()
            answer = await super().send_request(request)
            _, response, _, error = answer
            if error is not None:
                RecordingClient.failure = type(error).__name__ + _network_reason(error)
            elif response is not None:
                RecordingClient.links = tuple(response.headers.getall("Link", []))
                if response.status >= 400:
                    RecordingClient.failure = f"HTTP {response.status}"
            return answer

    return RecordingClient


def _network_reason(error: BaseException) -> str:
    reason = getattr(error, "os_error", None) or getattr(error, "strerror", None)
    return f" ({reason})" if reason else ""


class SdkReader:
    """Reads one org. Every method raises `ReaderFailed` for anything but a complete answer."""

    def __init__(self, client: Any, recording: Any, answers: Answers) -> None:
        self._client = client
        self._recording = recording
        self._answers = answers

    async def read_source(self, app: str, wanted: list[str]) -> list[dict[str, object]]:
        """Return each person whom the application's list or a counted group shows, with what each of both shows."""
        listed = await self._read_all(
            f"the people of application {app}", self._client.list_application_users, app, limit=500, expand="user"
        )
        assigned = await self._read_all(
            f"the groups of application {app}",
            self._client.list_application_group_assignments,
            app,
            limit=200,
            expand="group",
        )
        names = {group.id: _group_name(group) for group in assigned}
        counted = [key for key in sorted(names) if not wanted or key in wanted or names[key] in wanted]
        people: dict[str, dict[str, object]] = {}
        for row in listed:
            people[row.id] = _listed_person(row)
        for key in counted:
            members = await self._read_all(f"the members of group {key}", self._client.list_group_users, key, limit=200)
            for member in members:
                person = people.setdefault(member.id, {"id": member.id, **_user_fields(_as_json(member))})
                groups = person.setdefault("groups", [])
                if isinstance(groups, list) and key not in groups:
                    groups.append(key)
        for person in people.values():
            # Okta is moving them: its list names the group, which does not hold them.
            if not person.get("groups") and not person.get("individual") and person.get("link") in counted:
                person["groups"] = [person["link"]]
        return [each for each in people.values() if _is_of_source(each, frozenset(names), frozenset(counted))]

    async def _read_all(self, what: str, ask: Any, *arguments: str, **options: Any) -> list[Any]:
        rows: list[Any] = []
        after: str | None = None
        cursors: set[str] = set()
        for page in range(1, MAX_PAGES + 1):
            rows += await self._read_page(what, page, ask, *arguments, after=after, **options)
            self._answers.progress(what, len(rows))
            after = self._next_cursor()
            if after is None:
                return rows
            if after in cursors:
                raise ReaderFailed(f"page {page} of {what} leads back to a page that was read.", LATER_HINT)
            cursors.add(after)
        raise ReaderFailed(f"{what} has more than {MAX_PAGES:,} pages.", LATER_HINT)

    async def _read_page(self, what: str, page: int, ask: Any, *arguments: str, **options: Any) -> list[Any]:
        from pydantic import ValidationError

        try:
            data, response, failure = await ask(*arguments, **options)
        except ValidationError as error:
            raise ReaderFailed(
                f"the SDK refuses page {page} of {what}: a record has {_odd_fields(error)}.", ODD_RECORD_HINT
            ) from None
        except Exception as error:  # noqa: BLE001  (the SDK raises AttributeError and others for a failed answer)
            raise self._page_error(what, page, type(error).__name__) from None
        if failure is not None or response is None:
            raise self._page_error(what, page, type(failure).__name__, _okta_words(failure))
        if response.status_code != 200 or data is None:
            raise self._page_error(what, page, f"HTTP {response.status_code} without rows")
        if not all(row.id for row in data):
            raise ReaderFailed(f"page {page} of {what} has a row without an id.", LATER_HINT)
        return list(data)

    def _page_error(self, what: str, page: int, fallback: str, words: str = "") -> ReaderFailed:
        cause = self._recording.failure or f"the SDK reports {fallback}"
        return ReaderFailed(f"page {page} of {what} could not be read: {cause}{words}.", LATER_HINT)

    def _next_cursor(self) -> str | None:
        for link in self._recording.links:
            if found := NEXT_LINK.search(link):
                after = parse_qs(urlsplit(found[1]).query).get("after")
                if not after:
                    raise ReaderFailed("a next link has no cursor.", LATER_HINT)
                return after[0]
        return None


def _okta_words(failure: Any) -> str:
    code, summary = getattr(failure, "error_code", None), getattr(failure, "error_summary", None)
    return f", {code} {str(summary or '')[:200]}".rstrip(". ") if code else ""


def _odd_fields(error: Any) -> str:
    """Return the places of what the models refuse. The values may be people's, and are left out."""
    places = [
        ".".join(str(part) for part in each["loc"]) + f" ({each['type']})" for each in error.errors(include_input=False)
    ]
    return ", ".join(f"an unexpected `{place}`" for place in places[:3]) or "a value that its models do not know"


def _as_json(model: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(json.dumps(model.to_dict(), default=str))
    return found


def _user_fields(user: Mapping[str, Any]) -> dict[str, object]:
    profile = user.get("profile") or {}
    return {
        "status": user.get("status") or "",
        "login": profile.get("login") or "",
        "mail": profile.get("email") or "",
        "display_name": profile.get("displayName") or "",
        "given_name": profile.get("firstName") or "",
        "family_name": profile.get("lastName") or "",
    }


def _listed_person(row: Any) -> dict[str, object]:
    user = (row.embedded or {}).get("user") or {}
    link = row.links.group if row.links is not None else None
    return {
        "id": row.id,
        **_user_fields(user),
        "individual": row.scope == "USER",
        "link": (link.href or "").rstrip("/").rpartition("/")[2] if link is not None else "",
    }


def _group_name(group: Any) -> str:
    embedded = (group.embedded or {}).get("group") or {}
    name = (embedded.get("profile") or {}).get("name") if isinstance(embedded, dict) else None
    return name or ""


def _is_of_source(person: Mapping[str, object], assigned: frozenset[str], counted: frozenset[str]) -> bool:
    """Return whether the source counts the person: a group that is assigned and not counted gives nothing."""
    return bool(person.get("groups") or person.get("individual") or person.get("link") not in assigned - counted)


def _client_settings(request: Mapping[str, Any], http_client: type) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "orgUrl": request["org_url"],
        "httpClient": http_client,
        "requestTimeout": request["timeout_seconds"],
        "rateLimit": {"maxRetries": request["retries"]},
        "cache": {"enabled": False},
        "logging": {"enabled": False},
    }
    if request.get("access_token"):
        return settings | {"authorizationMode": "Bearer", "token": request["access_token"]}
    if request.get("api_token"):
        return settings | {"authorizationMode": "SSWS", "token": request["api_token"]}
    return settings | {
        "authorizationMode": "PrivateKey",
        "clientId": request["client_id"],
        "privateKey": request["private_key"],
        "scopes": SCOPES,
        **({"kid": request["kid"]} if request.get("kid") else {}),
        **({"dpopEnabled": True} if request.get("dpop") else {}),
    }


def _is_rsa(pem: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError):
        raise ReaderFailed("the private key of this connector can't be read.", "Run `pigment-sync check`.") from None


async def _access_token(request: Mapping[str, Any]) -> str:
    """Return an access token that pigment-sync's own client gets: the SDK signs with RSA keys only."""
    if request.get("dpop"):
        raise ReaderFailed("the SDK signs with RSA keys only, and this connector has an EC key and DPoP.", EC_KEY_HINT)
    from connectors.okta.auth import ServiceApp, access_tokens

    app = ServiceApp(
        connector=request["connector"],
        org_url=request["org_url"],
        client_id=request["client_id"],
        private_key=Secret("value", request["private_key"]),
        kid=request["kid"],
    )
    async with httpx.AsyncClient(
        verify=tls_context(None, os.environ),
        proxy=request.get("proxy") or None,
        trust_env=False,
        timeout=request["timeout_seconds"],
    ) as http:
        tokens = access_tokens("Okta", app, http, DEFAULT_LIMITS, REAL_TIME, time.time)
        try:
            await tokens(False)
        except ReadError as error:
            raise ReaderFailed(error.message, error.hint) from None
        return tokens.current


async def _read_org(request: Mapping[str, Any], answers: Answers) -> None:
    answers.progress("starting", 0)
    if request.get("private_key") and not _is_rsa(request["private_key"]):
        request = {**request, "access_token": await _access_token(request)}
        answers.write("note", text=EC_KEY_NOTE)
    from okta.client import Client
    from okta.http_client import HTTPClient

    recording = _recording_client(HTTPClient)
    try:
        client = Client(_client_settings(request, recording))
    except ValueError as error:
        # It lists what it refuses, such as `-admin` in a host's name, and quotes no secret.
        said = " ".join(str(error).split())[:300]
        raise ReaderFailed(
            f"the SDK refuses the settings of this connector: {said}",
            "Compare with an export of Okta instead (docs/compare.md). Nothing was compared.",
        ) from None
    async with client:
        for number, source in enumerate(request["sources"]):
            people = await SdkReader(client, recording, answers).read_source(source["app"], source["groups"])
            for start in range(0, len(people), ROWS_IN_LINE):
                answers.write("people", source=number, rows=people[start : start + ROWS_IN_LINE])


def _read(request: Mapping[str, Any], answers: Answers) -> None:
    if request.get("proxy"):
        # Set here and not by who starts this process: it may hold a password, and the SDK reads it from nowhere else.
        os.environ["HTTPS_PROXY"] = request["proxy"]
    if request.get("authorities"):
        # In the empty folder of this process. aiohttp reads the variables when it is imported.
        file = Path("authorities.pem")
        file.write_text(request["authorities"], "ascii")
        os.environ |= {"SSL_CERT_FILE": str(file.absolute()), "SSL_CERT_DIR": os.devnull}
    asyncio.run(_read_org(request, answers))


if __name__ == "__main__":
    run_reader(_read)
