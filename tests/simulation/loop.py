"""An event loop with a clock of its own, which jumps to the next timer as soon as nothing is ready: hours cost nothing.

What real code hands to a thread runs at once, in the loop's own thread. So nothing in a simulation depends on the
machine: the same seed gives the same history, with a real database too.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["VirtualLoop", "run_virtually"]

T = TypeVar("T")
RESOLUTION_SECONDS = 1e-6


class _Jumping(selectors.DefaultSelector):
    """Reports what is ready now, and moves the clock by what the loop would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task of the simulation waits for another: nothing can happen any more")
        if timeout > 0:
            self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Counts seconds from 0. Timers fire in their order, and all the time between them passes at once."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        # Adding up the steps to a moment may end a little before it.
        self._clock_resolution = RESOLUTION_SECONDS
        self.unhandled: list[BaseException] = []
        self.set_exception_handler(self._keep)

    def _keep(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what a task raised that was never awaited. The tasks of a killed process end so, and are no fault."""
        error = context.get("exception")
        if error is None:
            error = RuntimeError(str(context["message"]))
        self.unhandled.append(error)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # noqa: ARG002  (there are no threads)
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (as a thread does: it is raised where the result is awaited)
            future.set_exception(error)
        return future


def run_virtually(main: Coroutine[Any, Any, T], expected: tuple[type[BaseException], ...] = ()) -> T:
    """Run *main* in a virtual loop of its own to its end.

    Raises what a task of its own raised in vain, but for what is *expected* of tasks that are no longer awaited.
    """
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main)
    gc.collect(0)
    for error in loop.unhandled:
        if not isinstance(error, expected):
            raise error
    return result
