"""Find the secrets of a configuration that are missing or not usable, before a daemon starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pydantic import BaseModel

from agent.errors import ConfigError
from agent.settings.root import ConnectorSettings, Settings
from connectors.registry import provider_of
from connectors.secret import Secret, SecretError

__all__ = ["all_secrets", "has_inline_secrets", "missing_secrets", "refuse_missing_secrets", "secret_errors"]


def refuse_missing_secrets(settings: Settings) -> None:
    """Raise `ConfigError` that lists every secret that can't be read, with the fix for each.

    Only for the start. A secret that is lost later is reported by the run that needs it; other workspaces continue.
    """
    missing = list(missing_secrets(settings))
    if missing:
        first, *others = missing
        raise ConfigError(
            _problem_line(first),
            "\n".join([*map(_problem_line, others), *dict.fromkeys(hint for _, _, hint in missing)]),
        )


def missing_secrets(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield the path in the file, the problem and the fix of each secret that is needed and can't be read."""
    for path, error in secret_errors(settings):
        yield path, error.message, error.hint


def secret_errors(settings: Settings) -> Iterator[tuple[str, SecretError]]:
    """Yield the path in the file and the error of each secret that is needed and can't be read.

    The secrets of a connector that no workspace uses are not needed. One readable token of a workspace is enough: the
    next one may not exist yet.
    """
    used = {source.connector for each in settings.workspaces.values() for source in each.sources}
    yield from _try_reveal(lambda: settings.state.url, "state.url")
    for name, connector in settings.connectors.items():
        if name in used:
            yield from _check_credentials(connector, f"connectors.{name}")
    for name, workspace in settings.workspaces.items():
        path = f"workspaces.{name}.tokens"
        unread = [
            problem
            for place, token in enumerate(workspace.tokens)
            for problem in _try_reveal(token.reveal_token, f"{path}.{place}")
        ]
        if len(unread) == len(workspace.tokens):
            yield from unread
    yield from _check_model(settings.notify, "notify")
    for index, report in enumerate(settings.reports):
        yield from _check_model(report, f"reports.{index}")
    yield from _check_model(settings.server, "server")


def has_inline_secrets(settings: Settings) -> bool:
    """Return whether the configuration holds a secret itself, and not only its location."""
    # The URL of the state is a secret only where it has a password.
    return any(
        secret.inline_value is not None and (path != "state.url" or "@" in secret.inline_value)
        for path, secret in all_secrets(settings)
    )


def all_secrets(value: object, path: str = "") -> Iterator[tuple[str, Secret]]:
    """Yield each secret below *value*, with its path in the file."""
    if isinstance(value, Secret):
        yield path, value
    for key, each in _children(value):
        yield from all_secrets(each, f"{path}.{key}".removeprefix("."))


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield field.alias or name, getattr(value, name)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield str(name), each
    elif isinstance(value, tuple):
        for place, each in enumerate(value):
            yield str(place), each


def _check_credentials(connector: ConnectorSettings, path: str) -> Iterator[tuple[str, SecretError]]:
    """Yield problems with the credentials of *connector*, as the first request would meet them."""
    checks = provider_of(connector).credential_checks(connector)
    for key, check in checks.items():
        yield from _try_reveal(check, f"{path}.{key}")
    if not checks:
        yield from _check_model(connector, path)


def _try_reveal(reveal: Callable[[], object], path: str) -> Iterator[tuple[str, SecretError]]:
    try:
        reveal()
    except SecretError as error:
        yield path, error


def _check_model(model: BaseModel, path: str) -> Iterator[tuple[str, SecretError]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _check_model(value, f"{path}.{name}")
        elif isinstance(value, Secret):
            yield from _check_values((value,), f"{path}.{name}", numbered=False)
        elif isinstance(value, tuple):
            yield from _check_values(value, f"{path}.{name}")


def _check_values(values: tuple[object, ...], path: str, *, numbered: bool = True) -> Iterator[tuple[str, SecretError]]:
    for place, value in enumerate(values):
        if not isinstance(value, Secret):
            continue
        yield from _try_reveal(value.reveal, f"{path}.{place}" if numbered else path)


def _problem_line(missing: tuple[str, str, str]) -> str:
    path, message, _ = missing
    return f"{path}: {message}"
