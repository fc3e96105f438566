"""Signs of life of a daemon: others are seen, and a state that fails disturbs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from structlog.testing import capture_logs

from agent.daemon.interface import Replica
from agent.daemon.presence import Presence, daemon_phrase, own_record
from agent.errors import StateError
from agent.model.daemon import DaemonRecord
from agent.server import server_address, serving_line
from tests.integration.test_page_approvals import PageDaemon, Visitor, daemon, visitor
from tests.memory_state import MemoryState
from tests.state_samples import NOW, Clock

__all__ = ["daemon", "visitor"]

OTHER = DaemonRecord(id="other", host="<host>-b", pid=7, version="0.2.0", started_at=NOW)


class FailingState(MemoryState):
    """A state that is down while *is_down*, and counts the tries."""

    is_down = True
    tries = 0

    async def record_daemon(self, daemon: DaemonRecord) -> None:
        self.tries += 1
        if self.is_down:
            raise StateError("The state is gone.", "Start it.")
        await super().record_daemon(daemon)


async def until(holds: Callable[[], object]) -> None:
    for _ in range(12_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError("not within 60 s")


async def test_daemon_sees_others_but_not_itself_and_is_forgotten_at_its_end() -> None:
    state = MemoryState(Clock().now)
    await state.record_daemon(OTHER)
    own = own_record(NOW, "0.1.0")
    presence = Presence(state, own)
    with capture_logs() as lines:
        await presence.start()
    assert [each.id for each in presence.others] == ["other"]
    assert [(line["event"], line["pid"], line["host"]) for line in lines] == [("daemon.another", 7, "<host>-b")]
    assert {each.id for each in await state.load_daemons()} == {"other", own.id}

    await presence.stop()
    assert [each.id for each in await state.load_daemons()] == ["other"]


async def test_daemon_that_joins_later_is_seen_and_logged_once() -> None:
    state = MemoryState(Clock().now)
    presence = Presence(state, own_record(NOW, "0.1.0"), beat_seconds=0.001)
    with capture_logs() as lines:
        await presence.start()
        assert presence.others == ()
        await state.record_daemon(OTHER)
        await until(lambda: presence.others)
        await state.record_daemon(replace(OTHER, id="third", pid=8))
        await until(lambda: len(presence.others) == 2)
        await state.forget_daemon("other")
        await until(lambda: len(presence.others) == 1)
        await presence.stop()
    assert [line["pid"] for line in lines] == [7, 8]


async def test_state_that_fails_stops_nothing_and_is_logged_once() -> None:
    state = FailingState(Clock().now)
    presence = Presence(state, own_record(NOW, "0.1.0"), beat_seconds=0.001)
    with capture_logs() as lines:
        await presence.start()
        await until(lambda: state.tries > 5)
        await MemoryState.record_daemon(state, OTHER)
        state.is_down = False
        await until(lambda: presence.others)
        await presence.stop()
    assert [line["event"] for line in lines] == ["daemon.not_recorded", "daemon.another"]


async def test_line_at_a_terminal_names_the_other_daemons() -> None:
    line = serving_line(server_address("127.0.0.1", 8080), ["latam"], None, [daemon_phrase(OTHER)])
    assert line == (
        "Serving http://127.0.0.1:8080 for latam. Next run: none is scheduled. "
        "Another daemon (pid 7 on <host>-b) uses this state"
    )


async def test_page_names_the_other_daemons(visitor: Visitor, daemon: PageDaemon) -> None:
    own = Replica(own_record(NOW, "0.1.0"), (), is_this=True)
    daemon.replicas = (own,)
    assert "share this state" not in await visitor.read("/")
    daemon.replicas = (own, Replica(replace(OTHER, seen_at=NOW), ("latam", "emea"), is_this=False))
    shown = await visitor.read("/")
    assert "2 daemons share this state." in shown
    assert f"pid {own.daemon.pid} (this one): release 0.1.0, last sign of life not recorded yet. Idle." in shown
    assert "<host>-b , pid 7: release 0.2.0, last sign of life" in shown
    assert "Works on latam, emea." in shown
    assert "<host>-b" not in (await visitor.client.get("/")).text
