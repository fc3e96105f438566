"""The pretend OneLogin: one account with its token endpoint and the v2 API that reads it."""

from sandbox.onelogin.account import Credential, OneLoginAccount, OneLoginOptions
from sandbox.onelogin.app import onelogin_app

__all__ = ["Credential", "OneLoginAccount", "OneLoginOptions", "onelogin_app"]
