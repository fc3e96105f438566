"""Log in with the company's own identity provider: OpenID Connect's authorization code flow, with PKCE and nonce.

Authlib (extra `oidc`) does the protocol and checks the ID token: OpenID Connect Core 1.0, 3.1.2 and 3.1.3.7.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from agent.errors import ConfigError
from agent.model.web_login import BEGUN_LOGIN_LIFETIME
from agent.ports.web_logins import WebLogins
from agent.settings.server import OidcSettings, ServerSettings
from agent.settings.token import Role
from agent.web.auth import Principal, cookie_hash
from agent.web.problems import HttpProblem

__all__ = ["CALLBACK_PATH", "OidcLogin"]

log = structlog.get_logger()
CALLBACK_PATH = "/login/oidc/callback"
COOKIE_NAME = "pigment-sync-login"
CLIENT_NAME = "provider"
TIMEOUT_SECONDS = 15
MAX_NAME_LENGTH = 100
"""For a name that a visitor chose; `sub` has up to 255 characters (OpenID Connect Core 1.0, 2)."""


class OidcLogin:
    """Send visitors to the identity provider, and log them in when they return.

    State, nonce and PKCE verifier are derived from a cookie that browsers also send on the way back (SameSite=Lax). So
    any replica can finish a login, and no one can read them in the state: it keeps a hash of the cookie only, which
    makes the login end by being used once, or by its age.
    """

    def __init__(
        self,
        server: Callable[[], ServerSettings],
        state: WebLogins,
        transport: Callable[[], httpx.AsyncBaseTransport],
    ) -> None:
        self._server_settings = server
        self._state = state
        self._transport = transport

    async def begin(self, request: HttpRequest) -> Response:
        """Send the visitor to the identity provider. Raises `HttpProblem`, `StateError`."""
        client = self._create_client(self._require_settings())
        cookie = secrets.token_urlsafe(32)
        # Authlib puts its own copy there; what it needs on the way back is derived again.
        request.scope["session"] = {}
        redirect = client.authorize_redirect(request, self._callback_url(request), **_login_secrets(cookie))
        response: Response = await self._await_provider(redirect)
        await self._state.begin_login(cookie_hash(cookie))
        is_secure = self._callback_url(request).startswith("https:")
        response.set_cookie(
            COOKIE_NAME,
            cookie,
            max_age=int(BEGUN_LOGIN_LIFETIME.total_seconds()),
            path="/login",
            secure=is_secure,
            httponly=True,
            samesite="lax",
        )
        return response

    async def finish(self, request: HttpRequest) -> Principal:
        """Return the principal that the identity provider names. Raises `HttpProblem`, `StateError`."""
        settings = self._require_settings()
        cookie = request.cookies.get(COOKIE_NAME, "")
        if not cookie or not await self._state.finish_login(cookie_hash(cookie)):
            raise HttpProblem(403, "login", "This login did not start in this browser, or it expired.", "Log in again.")
        request.scope["session"] = _authlib_session(cookie, self._callback_url(request))
        client = self._create_client(settings)
        await self._verify_issuer(client, settings)
        token = await self._await_provider(client.authorize_access_token(request))
        claims = token.get("userinfo")
        if not isinstance(claims, Mapping):
            raise HttpProblem(
                403, "login", "The identity provider sent no ID token.", "Add openid to server.oidc.scopes."
            )
        return _principal_from_claims(claims, settings)

    def _require_settings(self) -> OidcSettings:
        settings = self._server_settings().oidc
        if settings is None:
            raise HttpProblem(404, "not-found", "Login by an identity provider is not set up.", "Set server.oidc.")
        return settings

    def _callback_url(self, request: HttpRequest) -> str:
        public = self._server_settings().public_url
        return (public or str(request.base_url).removesuffix("/")) + CALLBACK_PATH

    def _create_client(self, settings: OidcSettings) -> Any:
        """Return a new client each time: the secret may have been rotated."""
        oauth = _import_authlib()
        registry = oauth.OAuth()
        return registry.register(
            CLIENT_NAME,
            client_id=settings.client_id,
            client_secret=settings.client_secret.reveal(),
            server_metadata_url=f"{settings.issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": " ".join(settings.scopes),
                "code_challenge_method": "S256",
                "timeout": TIMEOUT_SECONDS,
                "transport": self._transport(),
                "trust_env": False,
            },
        )

    async def _verify_issuer(self, client: Any, settings: OidcSettings) -> None:
        """Require the configured issuer in the metadata: Authlib checks the ID token against the metadata only."""
        metadata = await self._await_provider(client.load_server_metadata())
        if str(metadata.get("issuer", "")).rstrip("/") != settings.issuer.rstrip("/"):
            raise HttpProblem(
                502, "login", "The identity provider's metadata names another issuer.", "Correct server.oidc.issuer."
            )

    async def _await_provider(self, step: Any) -> Any:
        """Await one step of the protocol. Raises `HttpProblem` for errors of the provider or the network."""
        from joserfc.errors import JoseError

        try:
            return await step
        except _import_authlib().OAuthError as error:
            log.warning("login.refused", error=error.error)
            raise HttpProblem(403, "login", "The identity provider refused the login.", "Log in again.") from error
        except JoseError as error:
            log.warning("login.refused", error=type(error).__name__)
            raise HttpProblem(403, "login", "The ID token is not valid.", "Log in again.") from error
        except (httpx.HTTPError, ValueError, KeyError, TypeError, RuntimeError) as error:
            # Authlib fails in many ways on incomplete metadata.
            log.warning("login.unanswered", error=f"{type(error).__name__}: {error}")
            raise HttpProblem(
                502,
                "login",
                "The identity provider can't be reached, or its response is not valid.",
                "Check server.oidc.issuer.",
            ) from error


def _login_secrets(cookie: str) -> dict[str, str]:
    """Return the state, nonce and PKCE verifier of the login of *cookie*, 43 characters each (RFC 7636, 4.1)."""
    return {name: _derive(cookie, name) for name in ("state", "nonce", "code_verifier")}


def _derive(cookie: str, name: str) -> str:
    digest = hmac.new(cookie.encode(), f"login {name}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _authlib_session(cookie: str, callback_url: str) -> dict[str, Any]:
    """Return what Authlib's integration for Starlette keeps in a session between the two requests of a login."""
    found = _login_secrets(cookie)
    data = {"redirect_uri": callback_url, "nonce": found["nonce"], "code_verifier": found["code_verifier"]}
    return {f"_state_{CLIENT_NAME}_{found['state']}": {"data": data}}


def _principal_from_claims(claims: Mapping[str, Any], settings: OidcSettings) -> Principal:
    groups = claims.get(settings.groups_claim)
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    roles = {role for group, role in settings.roles.items() if group in listed}
    name = _name_from_claims(claims)
    if not roles or not name:
        log.warning("login.refused", error="no role")
        raise HttpProblem(
            403,
            "role",
            "None of your groups may use pigment-sync.",
            f"Add one of them to server.oidc.roles, and send your groups in the claim {settings.groups_claim}.",
        )
    return Principal(name, Role.OPERATE if Role.OPERATE in roles else Role.READ)


def _name_from_claims(claims: Mapping[str, Any]) -> str:
    """Return the name of the visitor for the journal; empty when the claims have none.

    Users may be able to enter an email themselves. Only a verified one is used alone; any other name is followed by
    `sub`, which users can't choose.
    """
    names = {key: value for key in ("email", "preferred_username", "sub") if isinstance(value := claims.get(key), str)}
    if names.get("email") and claims.get("email_verified") is True:
        return names["email"][:MAX_NAME_LENGTH]
    name, subject = names.get("preferred_username") or names.get("email") or "", names.get("sub", "")[:255]
    return f"{name[:MAX_NAME_LENGTH]} ({subject})" if name and subject else subject


def _import_authlib() -> Any:
    """Return Authlib. Raises `ConfigError` where the extra is not installed."""
    try:
        with warnings.catch_warnings(record=True):
            # Authlib's warnings about HTTP libraries are for developers, not for an operator's log.
            from authlib.integrations import starlette_client
    except ImportError as error:
        raise ConfigError(
            "server.oidc needs the extra oidc, which is not installed.", "Run: pip install 'pigment-sync[oidc]'"
        ) from error
    return starlette_client
