"""What a run concludes from a probe, and which members are a probe's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest

from agent.model import Member
from agent.model.probe import (
    EXPECTED_FACTS,
    CanaryRecord,
    Fact,
    FactVerdict,
    canary_ids,
    load_facts,
    load_record,
    probe_document,
    server_facts,
)
from agent.model.server_facts import AS_ASSUMED, ServerFacts
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.report.probe import probe_summary, probe_text

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TARGET = "pigment https://acme.example"
RECORD = CanaryRecord(
    canary="canary@acme.com", nonce="1f2e3d4c", target=TARGET, canary_id="m-1", members={"m-1": "canary@acme.com"}
)


def probed(
    result: VerificationResult = VerificationResult.DIFFERS, seen: Mapping[str, str] = MappingProxyType({})
) -> Verification:
    """Return a probe that saw *seen* by code, and everything else as assumed."""
    facts = {code: Fact(code, expected, FactVerdict.AS_ASSUMED) for code, expected in EXPECTED_FACTS.items()}
    facts |= {code: Fact(code, text, FactVerdict.DIFFERS) for code, text in seen.items()}
    document = probe_document("latam", RECORD, AT.isoformat(), facts, keeps_record=True)
    return Verification(
        workspace="latam",
        kind=VerificationKind.PROBE,
        started_at=AT,
        result=result,
        subject=RECORD.canary,
        document=document,
    )


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({}, AS_ASSUMED),
        ({"patch-display-name": "204, changed", "deactivate": "204, changed"}, AS_ASSUMED),
        ({"patch-formatted": "204, changed alone"}, AS_ASSUMED),
        ({"patch-display-name": "200, not changed"}, ServerFacts(patches_names=False)),
        ({"patch-formatted": "400 invalidPath"}, ServerFacts(patches_names=False)),
        ({"deactivate": "200, not changed"}, ServerFacts(patches_active=False)),
        ({"reactivate": "501"}, ServerFacts(patches_active=False)),
        ({"filter": "400"}, ServerFacts(filters=False)),
        ({"filter-case": "200, 0 members"}, ServerFacts(filters=False)),
        ({"filter-emails": "400", "put-email": "400", "total-results": "not a number"}, AS_ASSUMED),
    ],
)
def test_facts_that_change_what_a_run_sends(seen: dict[str, str], expected: ServerFacts) -> None:
    assert server_facts([probed(seen=seen)], TARGET) == expected


def test_newest_complete_probe_of_the_same_server_counts() -> None:
    old = probed(seen={"patch-display-name": "405"})
    assert server_facts([probed(), old], TARGET) == AS_ASSUMED
    assert server_facts([probed(VerificationResult.FAILED), old], TARGET) == ServerFacts(patches_names=False)
    assert server_facts([probed(VerificationResult.RUNNING), old], TARGET) == ServerFacts(patches_names=False)
    assert server_facts([old], "pigment https://other.example") == AS_ASSUMED
    assert server_facts([], TARGET) == AS_ASSUMED


def test_record_and_facts_are_read_as_they_were_written() -> None:
    verification = probed(seen={"patch-email": "204, not changed"})
    assert load_record(verification) == RECORD
    assert load_facts(verification)["patch-email"] == Fact("patch-email", "204, not changed", FactVerdict.DIFFERS)
    assert load_record(replace(verification, document={})) is None


@pytest.mark.parametrize(
    ("member", "is_own"),
    [
        (Member("m-1", "canary@acme.com", "Any name", True), True),
        (Member("m-1", "Canary+PROBE@acme.com", "Any name", True), True),
        (Member("m-1", "zoe@acme.com", "Canary 1f2e3d4c", True), False),
        (Member("m-9", "canary@acme.com", "Canary 1f2e3d4c B", True), True),
        (Member("m-9", "canary@example.invalid", "", True, formatted="Canary 1f2e3d4c"), True),
        (Member("m-9", "canary@acme.com", "Zoe", True), False),
    ],
)
def test_member_is_a_probes_by_its_id_or_its_name_and_its_address(member: Member, is_own: bool) -> None:
    assert RECORD.owns(member) is is_own


def test_id_that_is_an_address_proves_nothing() -> None:
    record = replace(RECORD, members={"canary@acme.com": "canary@acme.com"}, canary_id="canary@acme.com")
    assert not record.owns(Member("canary@acme.com", "canary@acme.com", "Zoe", True))
    assert record.owns(Member("canary@acme.com", "canary@acme.com", "Canary 1f2e3d4c", True))


def test_member_of_a_person_is_not_a_canary_any_more() -> None:
    canary = Member("m-1", "canary@acme.com", "Canary 1f2e3d4c", True)
    stranger = Member("m-2", "zoe@acme.com", "Zoe", True)
    assert canary_ids([probed()], [canary, stranger], frozenset()) == {"m-1"}
    assert canary_ids([probed()], [canary, stranger], frozenset({"m-1"})) == frozenset()
    assert canary_ids([probed()], [replace(canary, email="zoe@acme.com")], frozenset()) == frozenset()
    assert canary_ids([], [canary], frozenset()) == frozenset()


def test_summary_is_one_sentence_with_the_date() -> None:
    assert probe_summary(probed(seen={"patch-email": "204, not changed"})) == (
        "The probe of latam with canary@acme.com on 2026-03-01 12:00 UTC ended: "
        f"{len(EXPECTED_FACTS) - 1} as assumed, 1 differs (patch-email), 0 unknown."
    )
    assert "did not come to its end" in probe_summary(probed(VerificationResult.FAILED))
    running = probed(VerificationResult.RUNNING)
    assert probe_summary(running).endswith("has not ended, or its process was killed.")


def test_hostile_text_of_a_server_is_escaped() -> None:
    assert "\x1b" not in probe_text(probed(seen={"patch-email": "204 \x1b[2J"}))


def test_page_lists_every_fact_with_what_is_expected() -> None:
    page = (Path(__file__).parents[2] / "docs" / "probe.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| ([^|]+) \|$", page.partition("## The facts")[2], re.MULTILINE)
    assert dict(rows) == dict(EXPECTED_FACTS)
