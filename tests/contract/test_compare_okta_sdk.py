"""Okta's SDK as another reader, in its own process: each credential that a connector may have."""

from __future__ import annotations

import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from agent.compare.readers import Bounds, read_with_okta_sdk, read_with_scim2_client
from agent.errors import UsageError
from connectors.base import IncompleteRead, Source, discard_progress
from connectors.okta import OktaSettings
from sandbox.host import host_apps
from sandbox.okta import okta_app
from tests.contract.pretend_directories import EC_KEY, RSA_KEY, PretendOkta, private
from tests.e2e.forked_command import forked_reader

BOUNDS = Bounds(timeout_seconds=60, retries=1, max_wait_seconds=60, ca_bundle=None, environ={})


@pytest.fixture
def okta() -> PretendOkta:
    pretend = PretendOkta()
    # The SDK's assertions are dated by the real clock.
    pretend.clock.seconds = time.time()
    return pretend


@pytest.fixture
def url(okta: PretendOkta) -> Iterator[str]:
    with host_apps({"okta": okta_app(okta.org)}, 0) as urls:
        yield urls["okta"]


def settings(url: str, **credential: object) -> OktaSettings:
    return OktaSettings.model_validate({"type": "okta", "org_url": url, **credential})


CREDENTIALS: dict[str, dict[str, object]] = {
    "api token": {"api_token": "api-token"},
    "RSA key": {"client_id": "0oaservice", "private_key": private(RSA_KEY), "kid": "rsa"},
    "RSA key with DPoP": {"client_id": "0oaservice", "private_key": private(RSA_KEY), "kid": "rsa", "dpop": True},
    "EC key": {"client_id": "0oaservice", "private_key": private(EC_KEY), "kid": "ec"},
}


@pytest.fixture(scope="module")
def reader() -> Iterator[Path]:
    with forked_reader() as python:
        yield python


@pytest.mark.parametrize("name", CREDENTIALS)
async def test_each_credential_reads_everyone(
    okta: PretendOkta, url: str, name: str, reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To start the SDK's process takes 2 s.
    monkeypatch.setattr(sys, "executable", str(reader))
    credential = CREDENTIALS[name]
    okta.org.token_issuer.clients["0oaservice"].requires_dpop = bool(credential.get("dpop"))

    found = await read_with_okta_sdk(
        settings(url, **credential), [Source("okta", okta.app.id)], BOUNDS, discard_progress
    )

    groups = [okta.company.okta.groups[key] for key in okta.app.groups]
    assert {key for group in groups for key in group.people} <= {each.id for each in found.entries}
    assert bool(found.notes) is (name == "EC key")


async def test_ec_key_with_dpop_is_refused_with_a_way_out(url: str) -> None:
    refused = settings(url, client_id="0oaservice", private_key=private(EC_KEY), kid="ec", dpop=True)

    with pytest.raises(IncompleteRead, match="EC key and DPoP") as ended:
        await read_with_okta_sdk(refused, [Source("okta", "0oa1")], BOUNDS, discard_progress)

    assert "docs/compare.md" in ended.value.hint


async def test_proxy_of_the_agent_is_the_proxy_of_the_sdk(
    url: str, reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(reader))
    bounds = replace(BOUNDS, environ={"HTTP_PROXY": "http://user:a-long-password@127.0.0.1:9"})

    with pytest.raises(IncompleteRead, match="ClientProxyConnectionError") as ended:
        await read_with_okta_sdk(
            settings(url, api_token="api-token"), [Source("okta", "0oa1")], bounds, discard_progress
        )

    assert "a-long-password" not in ended.value.message


class EmptyLists(BaseHTTPRequestHandler):
    """Answers every list with no rows."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002  (the name that the server passes)
        """Log nothing."""


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure_url(authority: trustme.CA) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyLists) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("by", ["ca_bundle", "SSL_CERT_FILE"])
async def test_private_authority_of_the_agent_reaches_the_sdk(
    authority: trustme.CA, secure_url: str, by: str, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    bounds = replace(BOUNDS, ca_bundle=bundle) if by == "ca_bundle" else replace(BOUNDS, environ={by: str(bundle)})

    found = await read_with_okta_sdk(
        settings(secure_url, api_token="api-token"), [Source("okta", "0oa1")], bounds, discard_progress
    )

    assert found.entries == ()


async def test_authority_that_the_agent_does_not_know_is_refused(secure_url: str) -> None:
    with pytest.raises(IncompleteRead, match="ClientConnectorCertificateError"):
        await read_with_okta_sdk(
            settings(secure_url, api_token="api-token"), [Source("okta", "0oa1")], BOUNDS, discard_progress
        )


async def test_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scim2_client", None)

    with pytest.raises(UsageError) as raised:
        await read_with_scim2_client(
            "https://scim.example.com", ["token"], BOUNDS, discard_progress, ignores_total=False
        )

    assert raised.value.hint == "Install it with: pip install 'pigment-sync[scim2-client]'"
