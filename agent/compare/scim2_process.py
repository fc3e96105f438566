"""List the members of a workspace with scim2-client: `python -m`, in a process of its own.

The only module that imports `scim2_client` and `scim2_models`. It follows the pages by `startIndex`, one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from agent.compare.answers import Answers, ReaderFailed, run_reader
from connectors.http.tls import tls_context

__all__ = ["ScimReader", "create_client"]

PAGE_SIZE = 100
MAX_PAGES = 20_000
LATER_HINT = "Try again later, and run `pigment-sync check` for this workspace. Nothing was compared."


def create_client(http: httpx.Client) -> Any:
    from scim2_client.client import BaseSyncSCIMClient
    from scim2_models import ScimProvider, User

    class HttpxClient(BaseSyncSCIMClient):  # type: ignore[misc,unused-ignore]
        """scim2-client with the HTTP library that the agent has: its own engine needs another one."""

        def request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
            return http.request(method, url.removeprefix("/"), **kwargs)

        def _stays_under_base_url(self, _endpoint: str) -> bool:
            return True

        def _parse_json(self, response: Any) -> Any:
            return response.json()

    return HttpxClient(provider=ScimProvider(models=(User,)), check_response_content_type=False)


class ScimReader:
    """Lists one workspace. Raises `ReaderFailed` for anything but a complete listing."""

    def __init__(self, client: Any, answers: Answers, *, ignores_total: bool) -> None:
        self._client = client
        self._answers = answers
        self._ignores_total = ignores_total
        self._refused_pages = 0
        self._refusal = ""

    def read_all(self) -> None:
        members: set[str] = set()
        start, total = 1, None
        for page in range(1, MAX_PAGES + 1):
            found_total, rows = self._read_page(page, start)
            if total is not None and found_total != total and not self._ignores_total:
                raise ReaderFailed(
                    f"`totalResults` was {total} and is {found_total} on page {page}: members changed meanwhile.",
                    "Try again. Nothing was compared.",
                )
            total = found_total
            known = len(members)
            members.update(str(row["id"]) for row in rows)
            self._answers.write("members", rows=rows)
            self._answers.progress("members", len(members), total)
            if not rows or len(members) == known or (not self._ignores_total and len(members) >= (total or 0)):
                break
            start += len(rows)
        else:
            raise ReaderFailed(f"the listing has more than {MAX_PAGES:,} pages.", LATER_HINT)
        if not self._ignores_total and len(members) != total:
            raise ReaderFailed(
                f"`totalResults` is {total}, and {len(members):,} different members were listed.", LATER_HINT
            )
        if self._refused_pages:
            self._answers.write(
                "note",
                text=f"scim2-client refused {self._refused_pages:,} pages ({self._refusal}), and their rows were read "
                "without its models: it refuses a whole page for one odd row.",
            )

    def _read_page(self, page: int, start: int) -> tuple[int | None, list[dict[str, object]]]:
        from scim2_client import SCIMClientException
        from scim2_client.errors import ResponsePayloadValidationException, SCIMResponseException
        from scim2_models import SCIMException

        parameters = {"startIndex": start, "count": PAGE_SIZE}
        try:
            try:
                answer = self._query(parameters, is_checked=True)
                return answer.total_results, [_row_of_model(each) for each in answer.resources or []]
            except (ResponsePayloadValidationException, SCIMResponseException) as error:
                raw = self._query(parameters, is_checked=False)
                if not isinstance(raw, dict) or not isinstance(raw.get("Resources", []), list):
                    raise ReaderFailed(f"page {page} is not a list of members: {error.message}", LATER_HINT) from None
                self._refused_pages += 1
                self._refusal = self._refusal or f"page {page}: {error.message}"
                return raw.get("totalResults"), [_row_of_json(each) for each in raw.get("Resources") or []]
        except (SCIMClientException, SCIMException, httpx.HTTPError) as error:
            raise ReaderFailed(
                f"page {page} could not be read: {type(error).__name__}: {str(error)[:200]}.", LATER_HINT
            ) from None

    def _query(self, parameters: Mapping[str, int], *, is_checked: bool) -> Any:
        from scim2_models import User

        return self._client.query(User, query_parameters=dict(parameters), check_response_payload=is_checked)


def _row_of_model(user: Any) -> dict[str, object]:
    if not user.id:
        raise ReaderFailed("a row has no id.", LATER_HINT)
    return {"id": user.id, "email": user.user_name, "name": user.display_name, "active": user.active}


def _row_of_json(row: Any) -> dict[str, object]:
    if not isinstance(row, dict) or row.get("id") in (None, ""):
        raise ReaderFailed("a row has no id.", LATER_HINT)
    return {
        "id": str(row["id"]),
        "email": row.get("userName"),
        "name": row.get("displayName"),
        "active": row.get("active"),
    }


def _read(request: Mapping[str, Any], answers: Answers) -> None:
    answers.progress("starting", 0)
    bundle = request.get("ca_bundle")
    errors = []
    for token in request["tokens"]:
        with httpx.Client(
            base_url=request["scim_url"].rstrip("/") + "/",
            headers={"Authorization": f"Bearer {token}", "User-Agent": "pigment-sync-compare (scim2-client)"},
            timeout=request["timeout_seconds"],
            verify=tls_context(Path(bundle) if bundle else None, {}),
            proxy=request.get("proxy") or None,
            trust_env=False,
            follow_redirects=False,
        ) as http:
            if http.get("Users?startIndex=1&count=1").status_code == 401:
                errors.append(token)
                continue
            ScimReader(create_client(http), answers, ignores_total=request["ignores_total"]).read_all()
            return
    raise ReaderFailed(f"the workspace refuses all {len(errors)} tokens.", "Create a new token in Pigment.")


if __name__ == "__main__":
    run_reader(_read)
