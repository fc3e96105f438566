"""Which waiting requests a budget admits. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum

__all__ = ["RequestPurpose", "admit", "reserved_requests"]

RESERVED_SHARE = 12
"""A twelfth of a window is for deactivations: 40 of 480."""


class RequestPurpose(StrEnum):
    """What a request is for: all requests of a deactivation, of another write, or of neither."""

    DEACTIVATION = "deactivation"
    WRITE = "write"
    READ = "read"


def reserved_requests(requests: int) -> int:
    """Return how many of the *requests* of a window are reserved for deactivations."""
    return requests // RESERVED_SHARE


def admit(
    waiting: Sequence[RequestPurpose],
    free: int,
    reserved: int,
    waiting_elsewhere: Collection[RequestPurpose] = (),
) -> list[int]:
    """Return the positions in *waiting*, which is in order of arrival, of the requests to admit.

    Deactivations go first, and they alone use the last *reserved* of the *free* requests. Other writes may use them
    while neither a deactivation nor a read waits, here or in another process: writes without end must not keep out the
    reads that find who left.
    """
    first = [at for at, purpose in enumerate(waiting) if purpose is RequestPurpose.DEACTIVATION]
    admitted = first[: max(0, free)]
    free -= len(admitted)
    is_contended = (
        len(admitted) < len(first)
        or RequestPurpose.READ in waiting
        or RequestPurpose.READ in waiting_elsewhere
        or RequestPurpose.DEACTIVATION in waiting_elsewhere
    )
    for at, purpose in enumerate(waiting):
        if purpose is RequestPurpose.DEACTIVATION:
            continue
        kept_free = reserved if purpose is RequestPurpose.READ or is_contended else 0
        if free > kept_free:
            admitted.append(at)
            free -= 1
    return admitted
