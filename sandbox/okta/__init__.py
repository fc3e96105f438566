"""The pretend Okta: one org with its token endpoint and the management API that reads it."""

from sandbox.okta.app import okta_app
from sandbox.okta.org import FREE, GENEROUS, WORKFORCE, OktaOptions, OktaOrg, RateLimits
from sandbox.okta.token import ServiceApp

__all__ = ["FREE", "GENEROUS", "WORKFORCE", "OktaOptions", "OktaOrg", "RateLimits", "ServiceApp", "okta_app"]
