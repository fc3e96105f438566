"""OpenTelemetry traces of runs (extra `otel`): sent by OTLP over HTTP, to where the standard `OTEL_` variables point.

A collector that is slow or gone never slows a run: spans wait in a bounded queue, and the end waits for a bounded time.
The SDK, its propagators included, sees no request to a vendor: none of them carries `traceparent`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING

import httpx
import structlog

from agent.errors import ConfigError, PigmentSyncError
from agent.ports.tracer import NO_TRACER, Attributes, Span, Tracer
from agent.request_trace import path_template
from connectors.base import ReadError
from connectors.http import request_id_from_headers

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

__all__ = ["TracedTransport", "open_tracer"]

log = structlog.get_logger()
END_SECONDS = 5.0
"""How long the end of a process waits for the collector."""
INHERITED = frozenset({"pigment_sync.run_id", "pigment_sync.workspace", "pigment_sync.provider"})
"""What the spans within a span have too, so that each can be searched for."""
HTTP_ERROR = 400

_inherited: ContextVar[Attributes] = ContextVar("inherited", default=MappingProxyType({}))


@contextmanager
def open_tracer(*, is_enabled: bool, providers: Mapping[str, str]) -> Iterator[Tracer]:
    """Yield the tracer of this process, and send what is left at the end. *providers* are the types of the connectors.

    Raises `ConfigError` where the extra is not installed, or a variable of OpenTelemetry can't be used.
    """
    if not is_enabled:
        yield NO_TRACER
        return
    provider = _build_provider()
    try:
        yield _OtelTracer(provider.get_tracer("pigment-sync"), providers)
    finally:
        # In a thread of its own: the collector may not answer, and the process must end.
        ending = Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(END_SECONDS)
        if ending.is_alive():
            log.warning("traces.not_sent", reason=f"the collector did not answer within {END_SECONDS:g} s")


def _build_provider() -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError(
            "tracing.enabled needs the extra otel, which is not installed.", "Run: pip install 'pigment-sync[otel]'"
        ) from None
    # Its messages quote addresses and headers. `_ReportingExporter` reports failures instead.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    named = Resource.create({"service.name": "pigment-sync", "service.version": version("pigment-sync")})
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    resource = named.merge(OTELResourceDetector().detect())
    try:
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_reporting(OTLPSpanExporter())))
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"tracing: a variable of OpenTelemetry can't be used ({type(error).__name__}).",
            "Check the variables that begin with OTEL_, for example OTEL_EXPORTER_OTLP_ENDPOINT.",
        ) from error
    return provider


def _reporting(exporter: SpanExporter) -> SpanExporter:
    """Return *exporter* so that it logs when the collector is lost, and when it is back."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class ReportingExporter(SpanExporter):
        is_lost = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = exporter.export(spans)
            is_lost = result is not SpanExportResult.SUCCESS
            if is_lost and not self.is_lost:
                log.warning("traces.not_sent", reason="the collector can't be reached, or did not accept them")
            elif self.is_lost and not is_lost:
                log.info("traces.sent_again")
            self.is_lost = is_lost
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return ReportingExporter()


class _OtelSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, attributes: Attributes) -> None:
        for name, value in attributes.items():
            self._span.set_attribute(name, value)

    def fail(self, code: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, code))
        self._span.set_attribute("error.type", code)


class _OtelTracer:
    def __init__(self, tracer: trace.Tracer, providers: Mapping[str, str]) -> None:
        self._tracer = tracer
        self._providers = providers

    @contextmanager
    def span(self, name: str, attributes: Attributes, /) -> Iterator[Span]:
        from opentelemetry.trace import SpanKind

        whole = {**_inherited.get(), **attributes}
        if connector := attributes.get("pigment_sync.connector"):
            whole["pigment_sync.provider"] = self._providers.get(str(connector), "other")
        kind = SpanKind.CLIENT if "http.request.method" in attributes else SpanKind.INTERNAL
        # An exception's own text may name a person: only its code is recorded.
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=whole, record_exception=False, set_status_on_exception=False
        ) as opened:
            found = _OtelSpan(opened)
            before = _inherited.set({key: value for key, value in whole.items() if key in INHERITED})
            try:
                yield found
            except BaseException as error:
                found.fail(error.code if isinstance(error, PigmentSyncError | ReadError) else type(error).__name__)
                raise
            finally:
                _inherited.reset(before)


class TracedTransport(httpx.AsyncBaseTransport):
    """Records a span for each request. Neither its query, its headers nor its body is recorded."""

    def __init__(self, transport: httpx.AsyncBaseTransport, tracer: Tracer) -> None:
        self._transport = transport
        self._tracer = tracer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        template = path_template(request.url.path)
        attributes: dict[str, str | int] = {
            "http.request.method": request.method,
            "server.address": request.url.host,
            "url.template": template,
        }
        with self._tracer.span(f"{request.method} {template}", attributes) as span:
            response = await self._transport.handle_async_request(request)
            span.set({"http.response.status_code": response.status_code})
            request_id = request_id_from_headers(response.headers, request.headers)
            if request_id:
                span.set({"pigment_sync.vendor_request_id": request_id})
            if response.status_code >= HTTP_ERROR:
                span.fail(str(response.status_code))
            return response

    async def aclose(self) -> None:
        await self._transport.aclose()
