"""Approve the plans that hold the leavers of a group, as soon as a run over everyone holds them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

__all__ = ["HeldLeavers"]

RUNS_SEEN = 20
Json = dict[str, Any]


@dataclass(slots=True)
class HeldLeavers:
    """The leavers of a group by workspace and member id, since *since*.

    *held_at* has when a run held each for the first time, by the journal, and *approved_at* when its plan was approved.
    *guards* counts the leavers by each guard that holds them; several guards may hold one.
    """

    client: httpx.Client
    leavers: Mapping[str, Sequence[str]]
    since: float
    held_at: dict[str, float] = field(default_factory=dict)
    approved_at: dict[str, float] = field(default_factory=dict)
    guards: Counter[str] = field(default_factory=Counter)
    _read_runs: set[str] = field(default_factory=set)
    _to_approve: dict[str, tuple[Json, list[str]]] = field(default_factory=dict)

    def approve_new(self) -> None:
        """Read the runs that have ended, and approve the newest plan of each workspace that holds its leavers."""
        for name, members in self.leavers.items():
            runs = self._get("/api/v1/runs", workspace=name, limit=RUNS_SEEN)["runs"]
            for run in reversed(runs):
                ended = run["finished_at"]
                if ended and run["id"] not in self._read_runs and _moment(ended) >= self.since:
                    self._take(name, run["id"], set(members))
            if name in self._to_approve:
                self._approve(name, *self._to_approve[name])

    def _take(self, name: str, run_id: str, members: set[str]) -> None:
        run = self._get(f"/api/v1/runs/{run_id}")
        if not run["finished_at"]:
            # Other workspaces of the same tick go on: until they end, its plan is not shown.
            return
        self._read_runs.add(run_id)
        plan: Json = run["plan"] or {}
        held = {at: hold["scim_id"] for at, hold in enumerate(plan.get("holds", ())) if hold.get("scim_id") in members}
        if run["trigger"] == "feed" or run["dry_run"] or not held:
            return
        fresh = {at for at, member in held.items() if member not in self.held_at}
        for guard in plan["guards"]:
            self.guards[guard["code"]] += len(fresh.intersection(guard["holds"]))
        self.held_at |= {held[at]: _moment(run["finished_at"]) for at in fresh}
        self._to_approve[name] = run, list(held.values())

    def _approve(self, name: str, run: Json, members: Sequence[str]) -> None:
        body = {"digest": run["digest"], "reason": "the group was taken off"}
        at = time.time()
        answer = self.client.post(f"/api/v1/runs/{run['id']}/approval", json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            # A newer plan exists or another run goes on: the next call reads it.
            return
        answer.raise_for_status()
        del self._to_approve[name]
        for member in members:
            self.approved_at.setdefault(member, at)

    def _get(self, path: str, **query: str | int) -> Json:
        found: Json = self.client.get(path, params=query).raise_for_status().json()
        return found


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
