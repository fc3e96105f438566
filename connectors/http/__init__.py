"""HTTP for every connector and for Pigment: bounded, rate-limited, retried, and on one origin only."""

from connectors.http.attempts import ATTEMPT_EXTENSION
from connectors.http.client import ApiClient
from connectors.http.headers import header_numbers, is_rate_limit, retry_after_seconds, server_time
from connectors.http.limits import (
    DEFAULT_LIMITS,
    NO_RATE_LIMITER,
    REAL_TIME,
    AuthHeaders,
    RateLimiter,
    RequestLimits,
    RequestSigner,
    SendLimit,
    Timer,
)
from connectors.http.origin import https_root, is_loopback, parse_url, validate_host
from connectors.http.pagination import CursorExpired, PageGuard, decode_cursor, retry_from_start
from connectors.http.permit import PermitExpired
from connectors.http.rate_limit import RetryAfterLimiter
from connectors.http.redact import error_excerpt, escape_control, redact, request_id_from_headers
from connectors.http.response import ApiResponse
from connectors.http.retry import RETRYABLE_STATUSES, RetryDelay, RetryPolicy
from connectors.http.send import NoResponse, RequestNotSent
from connectors.http.single_flight import SingleFlight, task_group

__all__ = [
    "ATTEMPT_EXTENSION",
    "DEFAULT_LIMITS",
    "NO_RATE_LIMITER",
    "REAL_TIME",
    "RETRYABLE_STATUSES",
    "ApiClient",
    "ApiResponse",
    "AuthHeaders",
    "CursorExpired",
    "NoResponse",
    "PageGuard",
    "PermitExpired",
    "RateLimiter",
    "RequestLimits",
    "RequestNotSent",
    "RequestSigner",
    "RetryAfterLimiter",
    "RetryDelay",
    "RetryPolicy",
    "SendLimit",
    "SingleFlight",
    "Timer",
    "decode_cursor",
    "error_excerpt",
    "escape_control",
    "header_numbers",
    "https_root",
    "is_loopback",
    "is_rate_limit",
    "parse_url",
    "redact",
    "request_id_from_headers",
    "retry_after_seconds",
    "retry_from_start",
    "server_time",
    "task_group",
    "validate_host",
]
