"""The pretend Okta: one org with its token endpoint and the management API that reads it."""

from sandbox.okta.app import okta_app
from sandbox.okta.org import FREE, GENEROUS, WORKFORCE, OktaOptions, OktaOrg, RateLimits
from sandbox.okta.system_log import LogOptions
from sandbox.okta.token import LOG_SCOPE, READ_SCOPES, ServiceApp

__all__ = [
    "FREE",
    "GENEROUS",
    "LOG_SCOPE",
    "READ_SCOPES",
    "WORKFORCE",
    "LogOptions",
    "OktaOptions",
    "OktaOrg",
    "RateLimits",
    "ServiceApp",
    "okta_app",
]
