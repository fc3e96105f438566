"""Four SCIM servers in this process: the pretend Pigment, plain and awkward, and two third-party servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from connectors.http import Timer
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.rate_limit import RateLimit, RateLimiter
from sandbox.pigment.token import Token
from sandbox.pigment.workspace import PigmentWorkspace
from tests.contract.scim_faults import OpenClient

TOKEN = "good-token"
AWKWARD = WorkspaceOptions(
    page_size=3,
    short_pages=True,
    empty_resources="absent",
    shows_formatted=False,
    keeps_name_parts=True,
    etags=True,
    active_as="text",
    ids="awkward",
)
CURSORS = WorkspaceOptions(page_size=4, next_cursor=True, put_without_active="activates")


class InThread(httpx.AsyncBaseTransport):
    """A WSGI application behind an asynchronous client; one thread serves it, as its database requires."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app
        self._wsgi = httpx.WSGITransport(app=app)
        self.thread = ThreadPoolExecutor(1)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        def answer() -> httpx.Response:
            whole = httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
            response = self._wsgi.handle_request(whole)
            body = response.read()
            response.close()
            return httpx.Response(response.status_code, headers=response.headers, content=body)

        return await asyncio.get_running_loop().run_in_executor(self.thread, answer)

    async def aclose(self) -> None:
        self.thread.shutdown()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    *knows_display_name*: it stores `displayName`. *patches_silently*: it answers a PATCH with 204.
    """

    url: str
    transport: httpx.AsyncBaseTransport
    knows_display_name: bool = True
    patches_silently: bool = False

    @asynccontextmanager
    async def client(self, *tokens: str, **more: Any) -> AsyncIterator[OpenClient]:
        reveal = [lambda token=token: token for token in tokens or (TOKEN,)]

        async def no_wait(seconds: float) -> None:
            await asyncio.sleep(0)

        async with httpx.AsyncClient(transport=self.transport) as http:
            yield OpenClient("latam", self.url, reveal, http, timer=Timer(sleep=no_wait), **more)


def pigment(switches: WorkspaceOptions) -> Server:
    space = PigmentWorkspace("latam", [Token(TOKEN), Token("second-token")], switches)
    app = pigment_app(Pigment([space], RateLimiter(RateLimit(None))))
    return Server("http://127.0.0.1/latam/scim/v2", httpx.ASGITransport(app))


@cache
def _scim2_provider() -> Any:
    """Return the models of scim2-server, which keep nothing of its users."""
    from scim2_models import ScimProvider
    from scim2_server.utils import (
        load_default_resource_types,
        load_default_schemas,
        load_default_service_provider_config,
    )

    return ScimProvider.from_discovery(
        load_default_schemas().values(),
        load_default_resource_types().values(),
        config=load_default_service_provider_config(),
    )


def scim2_server() -> Server:
    from scim2_server.memory import InMemoryStorage
    from scim2_server.testserver.application import BearerTokenApplication

    app = BearerTokenApplication(InMemoryStorage(), _scim2_provider(), bearer_tokens=[TOKEN, "second-token"])
    return Server("http://127.0.0.1/v2", InThread(app), patches_silently=True)


def is_bearer(request: Any) -> bool:
    """Accept only our tokens: the check that django-scim2-server is configured with."""
    return request.headers.get("Authorization") in {f"Bearer {TOKEN}", "Bearer second-token"}


def django_scim2_server() -> Server:
    """Start the server on a database in memory, which lasts as long as its only thread."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.urls import include, path

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_scim2_server"],
            LOGGING_CONFIG=None,
            ROOT_URLCONF=(path("scim/v2/", include("django_scim2_server.urls")),),
            SCIM2_SERVER_AUTH_CHECK=f"{__name__}.is_bearer",
            SECRET_KEY="only-for-tests",
            USE_TZ=True,
        )
        django.setup()
    transport = InThread(get_wsgi_application())
    transport.thread.submit(call_command, "migrate", verbosity=0).result()
    return Server("http://127.0.0.1/scim/v2", transport, knows_display_name=False)


SERVERS: dict[str, Callable[[], Server]] = {
    "pigment": lambda: pigment(WorkspaceOptions()),
    "pigment-awkward": lambda: pigment(AWKWARD),
    "pigment-cursors": lambda: pigment(CURSORS),
    "scim2-server": scim2_server,
    "django-scim2-server": django_scim2_server,
}
