"""What a run over everyone writes is made before its transactions begin, and none of these holds up others for long."""

from __future__ import annotations

import sys
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from sqlalchemy import Connection, Engine, event

from agent.model import GroupRef, LastSeen, Link
from agent.model.run import LinkEdit
from agent.store import codec
from agent.store.state import SqlState
from agent.store.state.links import LINKS_AT_ONCE
from connectors.base import PersonKey
from tests.state_samples import NOW, a_run, begun


@contextmanager
def count_commits() -> Iterator[list[Connection]]:
    commits: list[Connection] = []

    def record(connection: Connection) -> None:
        commits.append(connection)

    event.listen(Engine, "commit", record)
    try:
        yield commits
    finally:
        event.remove(Engine, "commit", record)


@contextmanager
def record_compressing_threads() -> Iterator[list[str]]:
    """Record the names of threads, started later, that compress something."""
    encode = {codec.last_seen_to_bytes.__code__, codec.compress_parts.__code__}
    threads: list[str] = []

    def record(frame: FrameType, what: str, called: object) -> None:
        if (what == "c_call" and called is zlib.compress) or (what == "call" and frame.f_code in encode):
            threads.append(threading.current_thread().name)

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        yield threads
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def test_links_are_updated_some_thousands_in_a_transaction(tmp_path: Path) -> None:
    state = await SqlState.open(f"sqlite:///{tmp_path}/state.db", lambda: NOW)
    lease = await begun(state)
    links = [Link(PersonKey("okta-main", f"{number:06}"), f"m{number}") for number in range(LINKS_AT_ONCE * 2 + 1)]
    run = replace(a_run("edit"), id="edit")
    await state.record_link_edits(lease, run, [LinkEdit(link, None) for link in links])
    seen = [replace(link, groups=(GroupRef("g1", "Planners"),), missed_reads=1) for link in links]

    with count_commits() as commits:
        await state.update_memory(lease, seen, frozenset(), {})

    assert len(commits) == 3 + 1
    assert (await state.load_memory("latam")).links == tuple(seen)
    await state.close()


async def test_document_of_a_plan_is_never_whole(tmp_path: Path) -> None:
    state = await SqlState.open(f"sqlite:///{tmp_path}/state.db", lambda: NOW)
    lease = await begun(state)
    await state.record_plan(lease, "r1", "sha256:a", [b"{}"])

    tracemalloc.start()
    await state.record_plan(lease, "r1", "sha256:a", (b"%09d" % number * 2**16 for number in range(64)))
    await state.record_run(a_run("r2"), (b"%09d" % number * 2**16 for number in range(64)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    whole = b"".join(b"%09d" % number * 2**16 for number in range(64))
    assert peak < len(whole) / 8
    assert {run and run.document for run in (await state.load_run("r1"), await state.load_run("r2"))} == {whole}
    await state.close()


async def test_nothing_is_compressed_in_the_thread_that_writes(tmp_path: Path) -> None:
    with record_compressing_threads() as threads:
        state = await SqlState.open(f"sqlite:///{tmp_path}/state.db", lambda: NOW)
        lease = await begun(state)
        threads.clear()
        left = LastSeen(scim_id="m1", email="ana@acme.com", display_name="Ana", active=True)
        await state.record_plan(lease, "r1", "sha256:a", [b"{}"])
        await state.record_last_seen(lease, "r1", [left])
        await state.record_run(replace(a_run("r2"), document=b"{}"))
        await state.close()

    assert len(threads) >= 3
    assert not [name for name in threads if name.startswith("state-")]
