"""The bench of the change feed measures what it is for: one leaver of one kind, and no other member."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.feed import main
from bench.feed_sandbox import GROUP_OFF, LeavingCompany
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import run_sandbox


def test_one_leaver_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "times.jsonl"
    words = "--provider onelogin --kind suspended --leavers 1 --people 20 --every 10s --idle 0 --per-minute 6000"
    lags = "--delay 0 --settling 0 --late-share 0 --doubled-share 0"

    assert main([*words.split(), *lags.split(), "--save", str(out)]) == 0

    row = json.loads(out.read_text("utf-8"))
    assert (row["kind"], row["missing"], row["wrongful"]) == ("suspended", 0, 0)
    assert [seconds > 0 for seconds in [*row["seconds"], *row["in_run"]]] == [True]
    assert "deactivated by feed runs: 1;" in capsys.readouterr().out


def test_deactivation_of_a_member_who_stays_is_wrongful() -> None:
    with run_sandbox(seed=3, size=20, limit=RateLimit(None)) as sandbox:
        company = LeavingCompany.of(sandbox, "okta")
        company.fill_burst_group(2)
        leaver, stays = (sandbox.company.okta.people[key] for key in company.choose(2))
        company.let_leave("left-group", leaver.id)
        company.take_group_off()
        members = [company.workspace.find_member(person.email) for person in (leaver, stays)]
        for member in filter(None, members):
            company.writes.deactivated_at[member.id] = company.left_at.get(member.id, ("", 0.0))[1] + 2

        waits = company.waits()

        assert waits["left-group"][0][1] == 2
        assert [seconds for _, seconds in waits[GROUP_OFF]] == [None, None]
        assert company.wrongful() == [member.id for member in members[1:] if member is not None]
        assert leaver.id not in sandbox.company.okta.assignments(company.app)
