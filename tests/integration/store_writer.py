"""Write 10,000 intents and outcomes, and print each acknowledged one, until killed or done.

`PYTHONPATH=. .venv/bin/python tests/integration/store_writer.py URL RUN | tail -1` measures what a change costs.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

from agent.model import Kind, Link
from agent.model.run import ChangeRecord, Lease, Outcome
from agent.store.state import SqlState
from connectors.base import PersonKey
from tests.state_samples import a_change, a_run

CHANGES = 10_000


def report(what: str, *words: object) -> None:
    print(what, *words, flush=True)  # noqa: T201  (the parent process reads it)


def now() -> datetime:
    return datetime.now(UTC)


async def renewed(state: SqlState, lease: Lease) -> None:
    while True:
        await asyncio.sleep(5)
        await state.renew_lease(lease)


async def write(url: str, run_id: str) -> None:
    state = await SqlState.open(url, now)
    lease = await state.take_lease("latam", run_id)
    await state.begin_run(a_run(run_id, at=now()), lease)
    report("begun", run_id)
    renewal, start = asyncio.create_task(renewed(state, lease)), time.perf_counter()
    for seq in range(CHANGES):
        scim_id, sent_at = f"{run_id}-m{seq}", now()
        person = PersonKey("okta-main", f"{run_id}-p{seq}")
        change = replace(a_change(Kind.CREATE, f"{person.id}@acme.com", None), person=person)
        await state.record_intent(lease, run_id, seq, change)
        report("intended", run_id, seq)
        record = ChangeRecord(
            run_id=run_id,
            seq=seq,
            change=change,
            outcome=Outcome.DONE,
            detail="",
            sent_at=sent_at,
            answered_at=now(),
            scim_id=scim_id,
        )
        await state.record_answer(lease, record, Link(person, scim_id))
        report("answered", run_id, seq)
    seconds, used = time.perf_counter() - start, time.process_time()
    renewal.cancel()
    await state.close()
    each, ours = 1000 * seconds / CHANGES, 1000 * used / CHANGES
    report(f"{CHANGES} changes: {each:.2f} ms each, {ours:.2f} ms of the processor")


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:]))
