"""The pretend OneLogin: one account with its token endpoint, the v2 API that reads it, and the events of v1."""

from sandbox.onelogin.account import Credential, OneLoginAccount, OneLoginOptions
from sandbox.onelogin.app import onelogin_app
from sandbox.onelogin.event_log import AccountEvents, EventOptions

__all__ = ["AccountEvents", "Credential", "EventOptions", "OneLoginAccount", "OneLoginOptions", "onelogin_app"]
