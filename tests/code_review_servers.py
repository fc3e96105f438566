"""Pretend APIs of GitHub and GitLab, over real HTTP: only what a code review of a configuration asks for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["TOKEN", "GitHub", "GitLab", "Request", "Response", "serve"]

TOKEN = "ghs_pretend"
Json = Any


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Json
    token: str


@dataclass(frozen=True)
class Response:
    status: int
    body: Json = None
    location: str = ""


NOT_FOUND = Response(404, {"message": "Not Found"})


@dataclass
class Server:
    """What both have in common: requests on record, tokens, faults, pages."""

    requests: list[Request] = field(default_factory=list)
    faults: dict[str, Response] = field(default_factory=dict)
    """An answer for each method and path, such as `POST /comments$`."""
    url: str = ""

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        for pattern, response in self.faults.items():
            if re.search(pattern, f"{request.method} {request.path}"):
                return response
        if request.token != f"Bearer {TOKEN}":
            return Response(401, {"message": "Bad credentials"})
        return self.answer(request)

    def answer(self, request: Request) -> Response:
        raise NotImplementedError

    def called(self, pattern: str) -> list[Request]:
        return [each for each in self.requests if re.search(pattern, f"{each.method} {each.path}")]


def page(rows: list[Json], query: dict[str, str]) -> list[Json]:
    size, number = int(query.get("per_page", "30")), int(query.get("page", "1"))
    return rows[(number - 1) * size : number * size]


@dataclass
class GitHub(Server):
    """One repository, `acme/access`."""

    comments: list[Json] = field(default_factory=list)
    pulls: list[Json] = field(default_factory=list)
    reviews: list[Json] = field(default_factory=list)
    artifacts: list[Json] = field(default_factory=list)
    archives: dict[int, bytes] = field(default_factory=dict)
    longest_comment: int = 65_536

    def answer(self, request: Request) -> Response:
        path = request.path.removeprefix("/repos/acme/access")
        routes: list[tuple[str, Callable[[Request, re.Match[str]], Response]]] = [
            (r"GET /issues/12/comments", lambda request, _: Response(200, page(self.comments, request.query))),
            (r"POST /issues/12/comments", self._post_comment),
            (r"PATCH /issues/comments/(\d+)", self._patch_comment),
            (r"GET /commits/\w+/pulls", lambda *_: Response(200, self.pulls)),
            (r"GET /pulls/12/reviews", lambda request, _: Response(200, page(self.reviews, request.query))),
            (r"GET /actions/artifacts", self._list_artifacts),
            (r"GET /actions/artifacts/(\d+)/zip", self._archive),
        ]
        for pattern, route in routes:
            if match := re.fullmatch(pattern, f"{request.method} {path}"):
                return route(request, match)
        return NOT_FOUND

    def handle(self, request: Request) -> Response:
        # The store of artefacts is another host: it must not see the token.
        if match := re.fullmatch(r"/store/(\d+)", request.path):
            return Response(400 if request.token else 200, self.archives[int(match[1])])
        return super().handle(request)

    def _post_comment(self, request: Request, _: object) -> Response:
        if len(request.body["body"]) > self.longest_comment:
            return Response(422, {"message": "body is too long (maximum is 65536 characters)"})
        new = {"id": len(self.comments) + 1, "user": {"login": "github-actions[bot]"}, **request.body}
        self.comments.append(new | {"html_url": f"https://github.example.com/c/{new['id']}"})
        return Response(201, self.comments[-1])

    def _patch_comment(self, request: Request, match: re.Match[str]) -> Response:
        (found,) = (each for each in self.comments if each["id"] == int(match[1]))
        found.update(request.body)
        return Response(200, found)

    def _list_artifacts(self, request: Request, _: object) -> Response:
        named = [each for each in self.artifacts if each["name"] == request.query["name"]]
        return Response(200, {"total_count": len(named), "artifacts": page(named, request.query)})

    def _archive(self, _: Request, match: re.Match[str]) -> Response:
        return Response(302, location=self.url.replace("127.0.0.1", "localhost") + f"/store/{match[1]}")


@dataclass
class GitLab(Server):
    """One project, 7."""

    notes: list[Json] = field(default_factory=list)
    merge_requests: list[Json] = field(default_factory=list)
    approved_by: list[str] = field(default_factory=list)
    jobs: list[Json] = field(default_factory=list)
    files: dict[tuple[int, str], bytes] = field(default_factory=dict)

    def answer(self, request: Request) -> Response:
        path = request.path.removeprefix("/api/v4").removeprefix("/projects/7")
        approvals = {"approved_by": [{"user": {"username": name}} for name in self.approved_by]}
        routes: list[tuple[str, Callable[[Request, re.Match[str]], Response]]] = [
            (r"GET /user", lambda *_: Response(200, {"id": 99, "username": "project_7_bot"})),
            (r"GET /merge_requests/3/notes", lambda request, _: Response(200, page(self.notes, request.query))),
            (r"POST /merge_requests/3/notes", self._post_note),
            (r"PUT /merge_requests/3/notes/(\d+)", self._put_note),
            (r"GET /repository/commits/\w+/merge_requests", lambda *_: Response(200, self.merge_requests)),
            (r"GET /merge_requests/3/approvals", lambda *_: Response(200, approvals)),
            (r"GET /merge_requests/3/pipelines", lambda *_: Response(200, [{"id": 50}])),
            (r"GET /pipelines/50/jobs", lambda *_: Response(200, self.jobs)),
            (r"GET /jobs/(\d+)/artifacts/pigment-sync-plan/(.+)", self._file),
        ]
        for pattern, route in routes:
            if match := re.fullmatch(pattern, f"{request.method} {path}"):
                return route(request, match)
        return NOT_FOUND

    def _post_note(self, request: Request, _: object) -> Response:
        self.notes.append({"id": len(self.notes) + 1, "system": False, "author": {"id": 99}, **request.body})
        return Response(201, self.notes[-1])

    def _put_note(self, request: Request, match: re.Match[str]) -> Response:
        (found,) = (each for each in self.notes if each["id"] == int(match[1]))
        found.update(request.body)
        return Response(200, found)

    def _file(self, _: Request, match: re.Match[str]) -> Response:
        found = self.files.get((int(match[1]), match[2]))
        return NOT_FOUND if found is None else Response(200, found)


@contextmanager
def serve(server: Server) -> Iterator[None]:
    """Serve *server* on loopback until the end of the block; its `url` has no slash at the end."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            body = json.loads(raw) if raw else None
            token = self.headers.get("Authorization") or ""
            response = server.handle(Request(self.command, parts.path, query, body, token))
            content = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
            self.send_response(response.status)
            if response.location:
                self.send_header("Location", response.location)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def do_PATCH(self) -> None:
            self.answer()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        server.url = f"http://127.0.0.1:{served.server_address[1]}"
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            served.shutdown()
            thread.join()
