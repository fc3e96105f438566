"""The plans whose renderings are kept beside this file: one of each thing that a report can show."""

from __future__ import annotations

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
from agent.report.document import plan_document, workspace_object
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
        Kind.CREATE,
        email,
        name,
        None,
        PersonKey("okta-main", f"00u{number}"),
        NO_FIELDS,
        Fields(email, name, True),
        "not-in-workspace",
        f"{name} is assigned through Pigment LatAm, and the workspace has no member {email}.",
        (LATAM,),
        given_name=name.split(" ", maxsplit=1)[0],
        family_name=name.rsplit(" ", maxsplit=1)[-1],
    )


def a_leaver(email: str = "bob.roe@acme.com", name: str = "Bob Roe", number: int = 2) -> Change:
    return Change(
        Kind.DEACTIVATE,
        email,
        name,
        f"scim-{number}",
        PersonKey("okta-main", f"00u{number}"),
        Fields(active=True),
        Fields(active=False),
        "left-groups",
        f"{name} left the group Pigment LatAm and has no other assignment.",
        (LATAM,),
    )


def a_marriage() -> Change:
    return Change(
        Kind.UPDATE_EMAIL,
        "maria.lima@acme.com",
        "Maria Lima",
        "scim-3",
        PersonKey("okta-main", "00u3"),
        Fields("maria.silva@acme.com", "Maria Silva"),
        Fields("maria.lima@acme.com", "Maria Lima"),
        "email-changed",
        "Maria Lima's email at the source is maria.lima@acme.com now.",
        (LATAM, PLANNERS),
    )


def a_rename() -> Change:
    return Change(
        Kind.UPDATE_NAME,
        "joao@acme.com",
        "João Pereira",
        "scim-4",
        PersonKey("okta-main", "00u4"),
        Fields(display_name="Joao Pereira"),
        Fields(display_name="João Pereira"),
        "name-changed",
        "The name at the source is João Pereira.",
        (PLANNERS,),
    )


def a_return() -> Change:
    return Change(
        Kind.REACTIVATE,
        "li.wei@acme.com",
        "李伟",
        "scim-5",
        PersonKey("okta-main", "00u5"),
        Fields(active=False),
        Fields(active=True),
        "assigned-again",
        "李伟 is assigned through Pigment LatAm again.",
        (LATAM,),
    )


def an_adoption() -> Change:
    return Change(
        Kind.ADOPT,
        "kim@acme.com",
        "Kim Lee",
        "scim-6",
        PersonKey("okta-main", "00u6"),
        NO_FIELDS,
        NO_FIELDS,
        "same-email",
        "Kim Lee's email is that of a member that nobody had claimed.",
        (LATAM,),
    )


def a_guarded_leaver(number: int) -> Hold:
    change = a_leaver(f"leaver{number}@acme.com", f"Leaver {number}", 100 + number)
    return Hold(
        Kind.DEACTIVATE,
        "max-deactivations",
        change.email,
        f"{change.reason} More than 25 people would be deactivated.",
        "Look at who they are, then approve the plan.",
        scim_id=change.scim_id,
        person=change.person,
        change=change,
    )


def a_foreigner() -> Hold:
    return Hold(
        Kind.CREATE,
        "domain-not-allowed",
        "guest@elsewhere.example.com",
        "elsewhere.example.com is not among the allowed domains of pigment-latam.",
        "Add the domain to allowed_domains, or take Guest Roe out of the group.",
        person=PersonKey("okta-main", "00u9"),
    )


def a_swap() -> Hold:
    return Hold(
        Kind.UPDATE_EMAIL,
        "email-swap",
        "sam@acme.com",
        "Sam wants max@acme.com, and Max wants sam@acme.com.",
        "Give one of them another address for a moment.",
        wanted="max@acme.com",
        scim_id="scim-8",
        person=PersonKey("okta-main", "00u8"),
    )


def a_guard(affected: int) -> Guard:
    return Guard(
        "max-deactivations",
        affected,
        2,
        "25",
        f"{affected} deactivations in this plan and 2 in the last 60 minutes are more than 25.",
        tuple(f"leaver{number}@acme.com" for number in range(affected)),
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
        workspace,
        mode,
        (SourceCounts("okta-main", "0oa1b2c3d4", 412, 409, groups, 3),),
        MemberCounts(420, 405, 401, 401),
        398,
        changes,
        holds,
        notes,
        guards,
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
    return a_plan(changes=(*changes, *hostile), holds=holds, notes=notes, guards=(a_guard(27),))


def a_document() -> Document:
    """Three workspaces: one with everything, one in step, one that could not be read."""
    gone = Unplanned(
        "pigment-apac",
        Mode.ENFORCE,
        "credentials",
        "credentials",
        "OneLogin (onelogin-apac) answered 401: the client is not known.",
        "Renew the client secret of onelogin-apac.",
    )
    plans = (latam(), a_plan("pigment-emea", mode=Mode.DRY_RUN), gone)
    return plan_document([workspace_object(plan) for plan in plans], MADE_AT)


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
