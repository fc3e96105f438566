"""The bench of the change feed measures what it is for: one leaver of one kind, and no other member."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from bench.feed import Run, Stop, main, make_rows
from bench.feed_approvals import HeldLeavers
from bench.feed_sandbox import GROUP_OFF, LeavingCompany

DIGEST = "sha256:" + "d" * 64


def test_one_leaver_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "times.jsonl"
    words = "--provider onelogin --kind suspended --leavers 1 --people 30 --workspaces 1 --every 10s --idle 0"
    lags = "--delay 0 --settling 0 --late-share 0 --doubled-share 0"

    assert main([*words.split(), *lags.split(), "--save", str(out)]) == 0

    row = json.loads(out.read_text("utf-8"))
    assert (row["kind"], row["missing"], row["wrongful"]) == ("suspended", 0, 0)
    assert [seconds > 0 for seconds in [*row["seconds"], *row["in_run"]]] == [True]
    assert "deactivated by feed runs: 1;" in capsys.readouterr().out


def test_deactivation_of_a_member_who_stays_is_wrongful() -> None:
    company = LeavingCompany.create("okta", 20, 3, 2, 3)
    leaver, stays = (company.directory.people[key] for key in company.choose(2))
    company.let_leave("left-group", leaver.id)
    burst = company.take_groups_off()
    sites = [next(site for site in company.sites if site.workspace.find_member(each.email)) for each in (leaver, stays)]
    assert len({site.name for site in sites}) == 2, "people leave each workspace in turn"
    left, other = (site.member_id(person) for site, person in zip(sites, (leaver, stays), strict=True))
    company.deactivated_at = {left: company.left_at[left][1] + 2, other: 5.0}

    waits = company.waits()

    assert [(name, seconds) for name, _, seconds in waits["left-group"]] == [(sites[0].name, 2)]
    assert [len(members) for members in burst.values()] == [2, 1]
    assert [seconds for _, _, seconds in waits[GROUP_OFF]] == [None] * 3
    assert company.wrongful() == [other]
    assert not {leaver.id, *(person.id for site in company.sites for person in site.burst)} & {
        key for site in company.sites for key in company.directory.assignments(site.app)
    }


def test_plan_that_holds_the_group_is_approved_once_it_can_be() -> None:
    posted: list[object] = []
    statuses = [409, 202]
    run = {"id": "r1", "trigger": "schedule", "dry_run": False, "finished_at": "2026-03-01T12:00:30Z", "digest": DIGEST}
    holds = [{"scim_id": key} for key in ("another", "m1", "m2")]
    guards = [{"code": "group-shrink", "holds": [0, 1, 2]}, {"code": "group-emptied", "holds": [1]}]
    shown = [run | {"finished_at": None, "plan": None}, run | {"plan": {"holds": holds, "guards": guards}}]
    older = run | {"id": "r0", "finished_at": "2026-03-01T11:00:00Z"}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            posted.append((request.url.path, json.loads(request.content)["digest"]))
            return httpx.Response(statuses.pop(0))
        if request.url.path == "/api/v1/runs":
            return httpx.Response(200, json={"runs": [run | {"id": "r2", "finished_at": None}, run, older]})
        assert request.url.path == "/api/v1/runs/r1"
        return httpx.Response(200, json=shown.pop(0))

    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://agent.example.com") as client:
        held = HeldLeavers(client, {"bench-1": ["m1", "m2", "m3"]}, since=1772366400.0)
        held.approve_new()
        assert (held.held_at, held.approved_at) == ({}, {}), "another workspace of the same tick goes on"
        held.approve_new()
        assert held.approved_at == {}
        held.approve_new()
        held.approve_new()

    assert posted == [("/api/v1/runs/r1/approval", DIGEST)] * 2
    assert held.held_at == {"m1": 1772366430.0, "m2": 1772366430.0}
    assert held.approved_at.keys() == {"m1", "m2"}
    assert held.guards == {"group-shrink": 2, "group-emptied": 1}


def test_first_signal_ends_the_leaving_and_the_second_the_waiting() -> None:
    stop = Stop()
    assert stop.may_leave()
    assert not Stop(leaving_until=0.0).may_leave()
    stop.on_signal()
    assert (stop.may_leave(), stop.waiting.is_set()) == (False, False)
    stop.on_signal()
    assert stop.waiting.is_set()


def test_leaver_waits_for_a_run_of_their_own_workspace_only() -> None:
    waits = {"deleted": [("bench-1", 100.0, 10.0), ("bench-2", 100.0, 20.0), ("bench-3", 100.0, None)]}
    runs = [Run("bench-2", 90.0, 95.0), Run("bench-1", 90.0, 99.0), Run("bench-2", 105.0)]

    (row,) = make_rows(waits, runs)

    assert (row.seconds, row.in_run, row.missing) == ((10.0,), (20.0,), 1)
