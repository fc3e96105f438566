"""A collector: it receives traces by OTLP over HTTP and decodes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

__all__ = ["Collector", "TracedSpan", "collector"]


@dataclass(frozen=True)
class TracedSpan:
    name: str
    id: bytes
    parent: bytes
    trace: bytes
    attributes: dict[str, str | int]
    failed: bool
    kind: int


@dataclass
class Collector:
    """*bodies* are the requests as they came, to search for what must not be in them."""

    url: str
    spans: list[TracedSpan] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[TracedSpan]:
        return [span for span in self.spans if span.name == name]

    def ancestors(self, span: TracedSpan) -> list[str]:
        """Return the names from the parent of *span* to the root."""
        by_id = {each.id: each for each in self.spans}
        names = []
        while span.parent:
            span = by_id[span.parent]
            names.append(span.name)
        return names

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(named["service.name"])
            for scope in resource.scope_spans:
                self.spans.extend(map(_decode, scope.spans))


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _decode(span: SpanMessage) -> TracedSpan:
    return TracedSpan(
        span.name,
        span.span_id,
        span.parent_span_id,
        span.trace_id,
        {each.key: _value(each.value) for each in span.attributes},
        span.status.code == span.status.STATUS_CODE_ERROR,
        span.kind,
    )


def _value(value: AnyValue) -> str | int:
    return value.int_value if value.HasField("int_value") else value.string_value
