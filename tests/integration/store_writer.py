"""Write intents and answers until killed, and say so after each that was acknowledged: `store_writer.py URL RUN`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime

from agent.model import Kind, Link
from agent.ports import ChangeRecord, Outcome
from agent.store.state import SqlState
from connectors.base import PersonKey
from tests.state_samples import a_change, a_run


def say(what: str, *words: object) -> None:
    print(what, *words, flush=True)  # noqa: T201  (the parent process reads it)


def now() -> datetime:
    return datetime.now(UTC)


async def write(url: str, run_id: str) -> None:
    state = await SqlState.open(url, now)
    lease = await state.take_lease("latam", run_id)
    await state.begin_run(a_run(run_id, at=now()), lease)
    say("begun", run_id)
    for seq in range(10_000):
        scim_id, sent_at = f"{run_id}-m{seq}", now()
        person = PersonKey("okta-main", f"{run_id}-p{seq}")
        change = replace(a_change(Kind.CREATE, f"{person.id}@acme.com", None), person=person)
        await state.intend(lease, run_id, seq, change)
        say("intended", run_id, seq)
        record = ChangeRecord(run_id, seq, change, Outcome.DONE, "", sent_at, now(), scim_id)
        await state.answered(lease, record, Link(person, scim_id))
        say("answered", run_id, seq)


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:]))
