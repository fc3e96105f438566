"""The tokens of one workspace. Several may be valid at once, so that they can be rotated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from connectors.base import ReadError
from connectors.secret import SecretInvalid

__all__ = ["WarnFunction", "WorkspaceTokens"]

PRINTABLE = range(0x21, 0x7F)


class WarnFunction(Protocol):
    """Logs one warning: *event* is `area.fact`, the rest are its fields."""

    def __call__(self, event: str, **fields: object) -> object: ...


class WorkspaceTokens:
    """Uses one token at a time, and moves on to the next when it is refused.

    Each of *reveal* is called whenever its token is needed, so that a rotated file is read again.
    """

    def __init__(self, workspace: str, reveal: Sequence[Callable[[], str]], warn: WarnFunction) -> None:
        self._workspace = workspace
        self._reveal = reveal
        self._warn = warn
        self.current = 0
        self._refused: set[int] = set()

    def __len__(self) -> int:
        return len(self._reveal)

    def restart(self) -> None:
        """Start with the first token again: it may have been replaced since it was refused."""
        self.current = 0
        self._refused.clear()

    def headers(self, number: int) -> Mapping[str, str]:
        """Return the headers with token *number*. Raises `SecretError` when it can't be a token."""
        token = self._reveal[number]()
        if not token or any(ord(letter) not in PRINTABLE for letter in token):
            raise SecretInvalid(
                f"Token {number + 1} of workspace {self._workspace} is empty or has characters that no token has.",
                "Put only the token, as Pigment showed it, into the variable or file in `tokens`.",
            )
        return {"Authorization": f"Bearer {token}", "Accept": "application/scim+json, application/json"}

    async def authorize(self, has_been_refused: bool) -> Mapping[str, str]:  # noqa: ARG002
        """Return the headers with the first token, from the current one on, that can be read."""
        while True:
            index = self.current
            try:
                return self.headers(index)
            except ReadError as error:
                if not self.fail_over(index, error.code):
                    raise

    def fail_over(self, index: int, why: int | str) -> bool:
        """Switch to the token after *index*, which was refused. Returns False when none is left."""
        if self.current != index:
            return True
        is_last = index + 1 == len(self._reveal)
        if index not in self._refused:  # several concurrent requests may be refused
            self._refused.add(index)
            self._warn("token.refused", workspace=self._workspace, token=index + 1, of=len(self._reveal), why=why)
        if not is_last:
            self.current = index + 1
        return not is_last
