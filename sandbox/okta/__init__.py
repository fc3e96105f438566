"""The pretend Okta: one org with its token endpoint and the management API that reads it."""

from sandbox.okta.app import okta_app
from sandbox.okta.org import FREE, GENEROUS, WORKFORCE, Limits, OktaOrg, OktaSwitches
from sandbox.okta.token import Client

__all__ = ["FREE", "GENEROUS", "WORKFORCE", "Client", "Limits", "OktaOrg", "OktaSwitches", "okta_app"]
