"""Spans of requests: path templates, what vendors get, and what a hostile server can put into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from agent.ports.tracer import Attributes, Span
from agent.request_trace import path_template
from agent.tracing import TracedTransport, open_tracer
from tests.otlp_receiver import collector


class RecordedSpan:
    def __init__(self, name: str, attributes: Attributes) -> None:
        self.name, self.attributes = name, dict(attributes)

    def set(self, attributes: Attributes) -> None:
        self.attributes.update(attributes)

    def fail(self, code: str) -> None:
        self.attributes["failed"] = code


class RecordingTracer:
    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []

    @contextmanager
    def span(self, name: str, attributes: Attributes, /) -> Iterator[Span]:
        self.spans.append(RecordedSpan(name, attributes))
        yield self.spans[-1]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/v1/users/00u1/groups", "/api/v1/users/{id}/groups"),
        ("/v1.0/servicePrincipals(appId='x')", "/v1.0/{id}"),
        (
            "/v1.0/groups/1/transitiveMembers/microsoft.graph.user",
            "/v1.0/groups/{id}/transitiveMembers/microsoft.graph.user",
        ),
        ("/api/2/users/ann@acme.com", "/api/2/users/{id}"),
        ("/tenant-7/scim/v2/Users/ann%40acme.com", "/{id}/scim/v2/Users/{id}"),
        ("/api/v1/users/../secret//x/", "/api/v1/users/{id}/{id}//{id}/"),
        ("", ""),
    ],
)
def test_path_template_has_only_the_words_of_an_api(path: str, template: str) -> None:
    assert path_template(path) == template


async def test_request_is_a_span_without_query_headers_and_body() -> None:
    tracer = RecordingTracer()
    answer = httpx.Response(429, headers={"x-okta-request-id": "Wabc-123"}, text="ann@acme.com")
    transport = TracedTransport(httpx.MockTransport(lambda _: answer), tracer)
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get("https://acme.okta.com/api/v1/users/00u1?search=ann", headers={"Authorization": "SSWS secret"})
    (span,) = tracer.spans

    assert span.name == "GET /api/v1/users/{id}"
    assert span.attributes == {
        "http.request.method": "GET",
        "server.address": "acme.okta.com",
        "url.template": "/api/v1/users/{id}",
        "http.response.status_code": 429,
        "pigment_sync.vendor_request_id": "Wabc-123",
        "failed": "429",
    }


async def test_request_id_that_is_an_address_or_repeats_the_token_is_left_out() -> None:
    tracer = RecordingTracer()
    ids = iter(["ann@acme.com", "secret-token"])
    answers = httpx.MockTransport(lambda _: httpx.Response(200, headers={"x-request-id": next(ids)}))
    async with httpx.AsyncClient(transport=TracedTransport(answers, tracer)) as client:
        for _ in range(2):
            await client.get("https://acme.com/Users", headers={"Authorization": "Bearer secret-token"})

    assert not any("pigment_sync.vendor_request_id" in span.attributes for span in tracer.spans)


async def test_vendor_gets_no_trace_header(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200)

    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        with open_tracer(is_enabled=True, providers={}) as tracer, tracer.span("sync", {}):
            transport = TracedTransport(httpx.MockTransport(answer), tracer)
            async with httpx.AsyncClient(transport=transport) as client:
                await client.get("https://acme.com/Users")

    assert {span.name for span in found.spans} == {"sync", "GET /Users"}
    assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for name in seen[0]}


def test_error_is_recorded_by_its_class_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        with (
            pytest.raises(KeyError),
            open_tracer(is_enabled=True, providers={"okta-main": "okta"}) as tracer,
            tracer.span("source.read", {"pigment_sync.connector": "okta-main"}),
        ):
            raise KeyError("ann@acme.com")
    (span,) = found.spans

    assert span.failed
    assert span.attributes["error.type"] == "KeyError"
    assert span.attributes["pigment_sync.provider"] == "okta"
    assert b"ann@acme.com" not in b"".join(found.bodies)


def test_service_has_the_name_that_the_environment_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "identity")
        with open_tracer(is_enabled=True, providers={}) as tracer, tracer.span("sync", {}):
            pass

    assert found.services == {"identity"}
