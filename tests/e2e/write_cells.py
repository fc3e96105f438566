"""Every fault of a write, and how a run with this fault ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["WRITES", "WriteCell"]


@dataclass(frozen=True, slots=True)
class WriteCell:
    """*fault* is as in a file of faults; *exit* is that of the sync, *failed* how many of its five changes failed."""

    name: str
    fault: Mapping[str, object]
    exit: int = 0
    failed: int = 0


def _once(name: str, **fault: object) -> WriteCell:
    return WriteCell(f"{name}, once", {**fault, "times": 1})


def _stays(name: str, failed: int, exit_code: int = 5, **fault: object) -> WriteCell:
    return WriteCell(name, fault, exit_code if failed else 0, failed)


# A sync of two creates, a new name, a new email and a deactivation.
WRITES = (
    _once("429", do="status", status=429, headers={"Retry-After": "0"}),
    _once("403 with a time to come back at", do="status", status=403, headers={"Retry-After": "0"}),
    _once("a gateway's 522 to a create", do="status", status=522, method="POST"),
    _once("a gateway's 522 to a change", do="status", status=522, method="PUT"),
    _once("500 to a create that was not made", do="status", status=500, method="POST"),
    _once("500 to a create that was made", do="status", status=500, method="POST", committed=True),
    _once("500 to a change", do="status", status=500, method="PUT"),
    _once("503", do="status", status=503),
    _once("a gateway's page after the write", do="html", status=504, committed=True),
    _once("no connection", do="disconnect", method="POST"),
    _once("a create whose answer is lost", do="reset", method="POST"),
    _once("a change whose answer is lost", do="reset", method="PUT"),
    _once("slower than the timeout", do="slow", seconds=3.0, method="PATCH"),
    _once("412", do="status", status=412, method="PATCH"),
    _once("a revoked token, with another", do="revoke-token"),
    _stays("405 to a PATCH", 0, do="status", status=405, method="PATCH"),
    _stays("501 to a PATCH", 0, do="status", status=501, method="PATCH"),
    _stays("204 without a body", 0, do="no-body"),
    _stays("200 without a body", 0, do="no-body", status=200),
    _stays("half of an answer", 0, do="truncated"),
    _stays("an answer that is not JSON", 0, do="invalid-json"),
    _stays("an answer nested too deeply", 0, do="deep-json"),
    _stays("an answer without end to a create", 0, do="huge-body", size=2**27, method="POST"),
    _stays("an answer without end to a PATCH", 2, do="huge-body", size=2**27, method="PATCH"),
    _stays("PATCH and PUT that are silently dropped", 3, do="dropped"),
    _stays("400 to one create", 1, do="status", status=400, method="POST", at=1),
    _stays("403 to one create", 1, do="status", status=403, method="POST", at=1),
    _stays("403 to every write, and reads are answered", 5, do="status", status=403),
    _stays("409 without a member", 2, do="status", status=409, method="POST"),
    _stays("404 to a change", 1, do="status", status=404, method="PUT"),
    _stays("412 that stays", 2, do="status", status=412, method="PATCH"),
    _stays("500 to each create", 2, do="status", status=500, method="POST"),
    _stays("503 that stays", 5, do="status", status=503),
    _stays("no connection that comes back", 5, do="disconnect"),
    _stays("every token revoked before the first write", 5, 6, do="revoke-token"),
    _stays("every token revoked after two writes", 3, do="revoke-token", start=2),
)
