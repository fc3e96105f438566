"""Everything that can end a command, as one tree, and the exit code of each.

    Exception
    ├── connectors.base.ReadError        a read was not complete                6
    │   ├── IncompleteRead                                                      6
    │   └── CredentialsRefused           401, a refused token                   6
    │       ├── PermissionMissing        403                                    6
    │       └── connectors.secret.SecretError   a secret is missing or not usable       8
    └── PigmentSyncError
        ├── UsageError                   a name or an argument that is not known 2
        ├── ConfigError                  the configuration is invalid           8
        ├── StateError                   the state store can't be used          1
        ├── WorkspaceBusy                another run holds the lease            7
        ├── LeaseLost                    our lease was taken while we ran       7
        ├── WrongTarget                  the state knows the workspace otherwise 4
        ├── StalePlan                    an approval of a plan that changed    9
        ├── AlreadyApproved              a second person must approve         4
        └── WriteError                   a write whose result is a per-change outcome, never an exit code by itself
            ├── WriteRefused             the workspace refused this one change
            ├── NotPersisted             it was accepted, and the member does not show it
            ├── WriteLost                no answer, and a lookup could not settle it
            ├── WriteStopped             the right to write ended first: the rest is not tried
            └── WorkspaceUnavailable     the rest is not tried
                ├── TokensRefused        the workspace refuses every token
                └── WorkspaceUnreachable the workspace is out of reach

Each carries *hint*, the next step. A bug is not one of these and is caught only by the entry point (1).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of design section 10."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    WOULD_CHANGE = 3
    HELD = 4
    FAILED = 5
    INCOMPLETE = 6
    BUSY = 7
    CONFIG = 8
    STALE = 9


WORST_FIRST = (
    ExitCode.UNEXPECTED,
    ExitCode.CONFIG,
    ExitCode.INCOMPLETE,
    ExitCode.FAILED,
    ExitCode.STALE,
    ExitCode.BUSY,
    ExitCode.HELD,
    ExitCode.WOULD_CHANGE,
)


def worst_exit_code(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the exit code that wins when several workspaces ended differently."""
    seen = set(codes)
    return next((code for code in WORST_FIRST if code in seen), ExitCode.DONE)


SECRET_ERROR_CODES = frozenset({"secret-not-set", "secret-unreadable", "secret-invalid"})
"""The codes of `connectors.secret.SecretError`."""


def exit_code_for_read_error(code: str) -> ExitCode:
    """Return the exit code of a read that ended with *code*.

    A secret that is missing is the configuration's fault, and an unexpected error is ours.
    """
    if code in SECRET_ERROR_CODES:
        return ExitCode.CONFIG
    return ExitCode.UNEXPECTED if code == "unexpected" else ExitCode.INCOMPLETE


class PigmentSyncError(Exception):
    """An error with a way out: *message* is what failed and why, *hint* the next step. Neither holds a secret."""

    code = "error"
    exit_code = ExitCode.UNEXPECTED

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PigmentSyncError):
    code = "usage"
    exit_code = ExitCode.USAGE


class ConfigError(PigmentSyncError):
    code = "config"
    exit_code = ExitCode.CONFIG


class StateError(PigmentSyncError):
    """The state can't be used. *is_transient*: the same may work in a moment (a server that restarts, a lock)."""

    code = "state"

    def __init__(self, message: str, hint: str, *, is_transient: bool = False) -> None:
        super().__init__(message, hint)
        self.is_transient = is_transient


def may_be_repeated(error: BaseException) -> bool:
    """Return whether the same may work in a moment, under a new lease: the state failed briefly, or the lease ended."""
    return isinstance(error, LeaseLost) or (isinstance(error, StateError) and error.is_transient)


class WorkspaceBusy(PigmentSyncError):
    """Another run holds the workspace's lease: the message names the holder and since when."""

    code = "busy"
    exit_code = ExitCode.BUSY


class LeaseLost(PigmentSyncError):
    """The lease ran out or was taken: nothing more may be written."""

    code = "lease-lost"
    exit_code = ExitCode.BUSY


def lease_lost_error(workspace: str) -> LeaseLost:
    """Return the error of a run whose lease of *workspace* ended. Its report shows what it did before."""
    return LeaseLost(
        f"This run lost its lease of {workspace}: it was not renewed in time, or another run took it.",
        "The next run checks what was in flight and applies the rest.",
    )


class AlreadyApproved(PigmentSyncError):
    """The same person approved the same plan before, and another person must."""

    code = "already-approved"
    exit_code = ExitCode.HELD


class WrongTarget(PigmentSyncError):
    """The key of the file stands for another workspace than in the state: only a command can resolve it."""

    code = "wrong-target"
    exit_code = ExitCode.HELD


class StalePlan(PigmentSyncError):
    code = "stale"
    exit_code = ExitCode.STALE


class WriteError(PigmentSyncError):
    """A write that failed, for one person unless it is `WorkspaceUnavailable`.

    *code* is the outcome's detail.
    """

    code = "failed"
    exit_code = ExitCode.FAILED


class WriteRefused(WriteError):
    """The workspace refused the write. *status* is the HTTP status, *scim_type* RFC 7644's word (3.12) or empty."""

    code = "refused"

    def __init__(self, message: str, hint: str, status: int, scim_type: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.scim_type = scim_type


class NotPersisted(WriteError):
    """The workspace accepted the write, and the member does not show it (design section 7)."""

    code = "not-persisted"


class WriteLost(WriteError):
    """No answer came, and a lookup could not show whether the write was made.

    *is_accepted*: the workspace did answer, with a success, and shows nothing of the create.
    """

    code = "lost"

    def __init__(self, message: str, hint: str, *, is_accepted: bool = False) -> None:
        super().__init__(message, hint)
        self.is_accepted = is_accepted


class WriteStopped(WriteError):
    """The right to write ended before the request, or its repetition, left: the rest is not tried.

    *may_be_applied*: an earlier attempt at the same change left, and its answer is not known. *cause* is the state's
    error where the state could not permit the request; without one the lease ended.
    """

    code = "stopped"

    def __init__(
        self, message: str, hint: str, *, may_be_applied: bool = False, cause: StateError | None = None
    ) -> None:
        super().__init__(message, hint)
        self.may_be_applied = may_be_applied
        self.cause = cause


class WorkspaceUnavailable(WriteError):
    """The workspace as a whole can't be written to: one of the two classes below.

    *may_be_applied*: an earlier attempt at the same change left, and its answer is not known.
    """

    def __init__(self, message: str, hint: str, *, may_be_applied: bool) -> None:
        super().__init__(message, hint)
        self.may_be_applied = may_be_applied


class TokensRefused(WorkspaceUnavailable):
    """Every token was refused or can't be read, so nothing more was written."""

    code = "credentials"


class WorkspaceUnreachable(WorkspaceUnavailable):
    """The host is out of reach, and may have done what it did not answer."""

    code = "unreachable"

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint, may_be_applied=True)
