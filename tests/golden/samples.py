"""The plans of the golden renderings next to this file: one of each thing that a report can show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from agent.model import (
    NO_FIELDS,
    Change,
    Fields,
    GroupRef,
    Guard,
    Hold,
    Kind,
    MemberCounts,
    Mode,
    Note,
    Plan,
    SourceCounts,
    Unplanned,
)
from agent.model.approval import Approval
from agent.model.provenance import Provenance
from agent.model.run import Run, RunStatus, Trigger
from agent.report.document import plan_document, workspace_object
from agent.report.group_sizes import shrunk_groups
from agent.report.run_identity import with_run
from agent.report.schema import Document, OutcomeRow
from connectors.base import PersonKey

MADE_AT = "2026-03-01T12:00:00Z"

LATAM = GroupRef("00g1", "Pigment LatAm")
PLANNERS = GroupRef("00g2", "Planners | EMEA & friends")

HOSTILE = (
    "\x1b[31mRed Roe\x1b[0m",
    '=HYPERLINK("http://evil.example.com","click")',
    "<script>alert(1)</script>",
    "\u202egnp.exe\u202c Ann",
    "@channel | `rm -rf` | [x](javascript:alert(1))",
    "+1+1|cmd' /C calc'!A0",
    "Zoë 🦊 O'Brien שרה",
    "half \ud83d pair",
    "two\nlines\tand a tab",
    "{{ 7 * 7 }} {% raw %}",
)


def a_create(email: str = "ana.souza@acme.com", name: str = "Ana Souza", number: int = 1) -> Change:
    return Change(
        kind=Kind.CREATE,
        email=email,
        display_name=name,
        scim_id=None,
        person=PersonKey("okta-main", f"00u{number}"),
        before=NO_FIELDS,
        after=Fields(email, name, True),
        code="not-in-workspace",
        reason=f"{name} is assigned through Pigment LatAm, and the workspace has no member {email}.",
        group_refs=(LATAM,),
        given_name=name.split(" ", maxsplit=1)[0],
        family_name=name.rsplit(" ", maxsplit=1)[-1],
    )


def a_leaver(email: str = "bob.roe@acme.com", name: str = "Bob Roe", number: int = 2) -> Change:
    return Change(
        kind=Kind.DEACTIVATE,
        email=email,
        display_name=name,
        scim_id=f"scim-{number}",
        person=PersonKey("okta-main", f"00u{number}"),
        before=Fields(active=True),
        after=Fields(active=False),
        code="left-groups",
        reason=f"{name} left the group Pigment LatAm and has no other assignment.",
        group_refs=(LATAM,),
    )


def a_marriage() -> Change:
    return Change(
        kind=Kind.UPDATE_EMAIL,
        email="maria.lima@acme.com",
        display_name="Maria Lima",
        scim_id="scim-3",
        person=PersonKey("okta-main", "00u3"),
        before=Fields("maria.silva@acme.com", "Maria Silva"),
        after=Fields("maria.lima@acme.com", "Maria Lima"),
        code="email-changed",
        reason="Maria Lima's email at the source is maria.lima@acme.com now.",
        group_refs=(LATAM, PLANNERS),
    )


def a_rename() -> Change:
    return Change(
        kind=Kind.UPDATE_NAME,
        email="joao@acme.com",
        display_name="João Pereira",
        scim_id="scim-4",
        person=PersonKey("okta-main", "00u4"),
        before=Fields(display_name="Joao Pereira"),
        after=Fields(display_name="João Pereira"),
        code="name-changed",
        reason="The name at the source is João Pereira.",
        group_refs=(PLANNERS,),
    )


def a_return() -> Change:
    return Change(
        kind=Kind.REACTIVATE,
        email="li.wei@acme.com",
        display_name="李伟",
        scim_id="scim-5",
        person=PersonKey("okta-main", "00u5"),
        before=Fields(active=False),
        after=Fields(active=True),
        code="assigned-again",
        reason="李伟 is assigned through Pigment LatAm again.",
        group_refs=(LATAM,),
    )


def an_adoption() -> Change:
    return Change(
        kind=Kind.ADOPT,
        email="kim@acme.com",
        display_name="Kim Lee",
        scim_id="scim-6",
        person=PersonKey("okta-main", "00u6"),
        before=NO_FIELDS,
        after=NO_FIELDS,
        code="same-email",
        reason="Kim Lee's email is that of a member that nobody had claimed.",
        group_refs=(LATAM,),
    )


def a_guarded_leaver(number: int) -> Hold:
    change = a_leaver(f"leaver{number}@acme.com", f"Leaver {number}", 100 + number)
    return Hold(
        kind=Kind.DEACTIVATE,
        code="max-deactivations",
        email=change.email,
        reason=f"{change.reason} More than 25 people would be deactivated.",
        remedy="Look at who they are, then approve the plan.",
        scim_id=change.scim_id,
        person=change.person,
        change=change,
        guards=("max-deactivations",),
    )


def a_foreigner() -> Hold:
    return Hold(
        kind=Kind.CREATE,
        code="domain-not-allowed",
        email="guest@elsewhere.example.com",
        reason="elsewhere.example.com is not among the allowed domains of pigment-latam.",
        remedy="Add the domain to allowed_domains, or take Guest Roe out of the group.",
        person=PersonKey("okta-main", "00u9"),
    )


def a_swap() -> Hold:
    return Hold(
        kind=Kind.UPDATE_EMAIL,
        code="email-swap",
        email="sam@acme.com",
        reason="Sam wants max@acme.com, and Max wants sam@acme.com.",
        remedy="Give one of them another address for a moment.",
        wanted="max@acme.com",
        scim_id="scim-8",
        person=PersonKey("okta-main", "00u8"),
    )


def a_guard(affected: int) -> Guard:
    return Guard(
        code="max-deactivations",
        count=affected,
        recent=2,
        limit="25",
        message=f"{affected} deactivations in this plan and 2 in the last 60 minutes are more than 25.",
        affected=tuple(f"leaver{number}@acme.com" for number in range(affected)),
    )


def a_plan(
    workspace: str = "pigment-latam",
    changes: tuple[Change, ...] = (),
    holds: tuple[Hold, ...] = (),
    notes: tuple[Note, ...] = (),
    mode: Mode = Mode.ENFORCE,
    guards: tuple[Guard, ...] = (),
) -> Plan:
    groups = (("00g1", "Pigment LatAm", 300), ("00g2", "Planners | EMEA & friends", 112))
    return Plan(
        workspace=workspace,
        mode=mode,
        sources=(
            SourceCounts(
                connector="okta-main", app="0oa1b2c3d4", people=412, entitled=409, groups=groups, individual=3
            ),
        ),
        members=MemberCounts(total=420, active=405, linked=401, guarded=401),
        in_sync=398,
        changes=changes,
        holds=holds,
        notes=notes,
        guards=guards,
    )


def latam() -> Plan:
    changes = (an_adoption(), a_leaver(), a_marriage(), a_return(), a_rename(), a_create())
    hostile = tuple(a_create(f"hostile{number}@acme.com", name, 50 + number) for number, name in enumerate(HOSTILE))
    holds = (*(a_guarded_leaver(number) for number in range(27)), a_foreigner(), a_swap())
    notes = (
        Note("unmanaged", "old.admin@acme.com", "old.admin@acme.com is a member that no source knows."),
        Note("unmanaged", "robot@acme.com", "robot@acme.com is a member that no source knows."),
        Note("individual-assignment", "ceo@acme.com", "The assignment of ceo@acme.com is individual."),
    )
    made = a_plan(changes=(*changes, *hostile), holds=holds, notes=notes, guards=(a_guard(27),))
    before = {("okta-main", "00g1"): ("Pigment LatAm", 327), ("okta-main", "00g3"): ("=Pigment Andes", 45)}
    return replace(made, shrunk_groups=shrunk_groups(made.sources, before))


def aged(plan: Plan) -> Plan:
    """Return *plan* with holds that have been waiting for two days, one for some hours, and one that is new."""
    by_code = {
        "max-deactivations": datetime(2026, 2, 27, 9, tzinfo=UTC),
        "domain-not-allowed": datetime(2026, 3, 1, 7, tzinfo=UTC),
        "email-swap": datetime(2026, 3, 1, 11, 59, 30, tzinfo=UTC),
    }
    return replace(plan, holds=tuple(replace(hold, since=by_code[hold.code]) for hold in plan.holds))


def a_document() -> Document:
    """Three workspaces: one with everything, one in sync, one that could not be read."""
    unreachable = Unplanned(
        workspace="pigment-apac",
        mode=Mode.ENFORCE,
        status="credentials",
        code="credentials",
        message="OneLogin (onelogin-apac) answered 401: the client is not known.",
        remedy="Renew the client secret of onelogin-apac.",
    )
    plans = (aged(latam()), a_plan("pigment-emea", mode=Mode.DRY_RUN), unreachable)
    return plan_document([workspace_object(plan) for plan in plans], MADE_AT)


def a_past_run() -> Run:
    """The run that applied the plan of `latam`."""
    return Run(
        id="20260301-115900-3f9a1c",
        workspace="pigment-latam",
        trigger=Trigger.SYNC,
        dry_run=False,
        started_at=datetime(2026, 3, 1, 11, 59, tzinfo=UTC),
        status=RunStatus.FAILED,
        finished_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
        by="bob@acme.com",
        reason=f"March reorganisation {HOSTILE[2]}",
        approved_digest="sha256:5f",
        provenance=Provenance(version="0.1.0", commit="4711" * 10, config_sha256="c0ff" * 16),
    )


def approvals() -> tuple[Approval, ...]:
    """Two people: one for all guards, one for a single guard."""
    one = Approval(
        workspace="pigment-latam",
        digest="sha256:5f",
        by="ana@acme.com",
        at=datetime(2026, 3, 1, 11, 30, tzinfo=UTC),
        reason="The team moved to EMEA.",
        guards=("max-deactivations",),
    )
    return (one, replace(one, by="bob@acme.com", at=datetime(2026, 3, 1, 11, 59, tzinfo=UTC), guards=()))


def a_run_document() -> Document:
    """The document of `a_document` as runs: one approved, one of an earlier release, one that did not begin."""
    latam, emea, apac = a_document()["workspaces"]
    earlier = replace(a_past_run(), id="20260301-115900-aaaaaa", by="", trigger=Trigger.SCHEDULE)
    earlier = replace(earlier, reason="", status=RunStatus.PLANNED, approved_digest=None, provenance=None)
    return plan_document([with_run(latam, a_past_run(), approvals()), with_run(emea, earlier, ()), apac], MADE_AT)


def outcomes() -> dict[str, list[OutcomeRow]]:
    """What became of the changes of `latam`, one of the held ones approved among them."""
    made = [
        OutcomeRow(seq, change.kind.value, change.email, "done")
        for seq, change in enumerate(latam().changes)
        if change.email not in ("joao@acme.com", "hostile0@acme.com")
    ]
    return {
        "pigment-latam": [
            *made,
            OutcomeRow(20, "update-name", "joao@acme.com", "not-persisted", "The member still shows the old name."),
            OutcomeRow(21, "create", "hostile0@acme.com", "not-tried", "The workspace stopped answering."),
            OutcomeRow(22, "deactivate", "leaver3@acme.com", "done"),
            OutcomeRow(23, "adopt", "hostile1@acme.com", "done", "Someone made the member meanwhile."),
        ]
    }
