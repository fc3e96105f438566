"""Compute the plan of one workspace: the table, row by row. Pure: the same inputs in any order give the same plan.

A person who is **entitled** (assigned through a group, and active at the source):

    linked  member with the person's email     name    result                                             row  module
    ──────  ─────────────────────────────────  ──────  ─────────────────────────────────────────────────  ───  ────────
    yes     is theirs, active                  same    in sync                                              1  entitled
    yes     is theirs, active                  other   update-name                                          2
    yes     is not theirs: email differs       any     update-email, one PUT                                3
    yes     theirs is inactive                 any     reactivate, with the email if that differs too       4
    yes     theirs is not listed               any     adopt `relinked` as rows 6-7, else hold              5
    no      unlinked, active                   any     adopt, then rows 1-3                                 6
    no      unlinked, inactive                 same    adopt and reactivate                                 7
    no      unlinked, inactive                 other   hold `possible-recycled-address`                     7
    no      of a person who moves away         any     create, after that move                              8
    no      of a person of the same connector  any     hold `recycled-address`, and a leaver stays active   9
    no      of a person of another connector   any     hold `source-changed` (gone there: `relinked`)      10
    no      none, but an alias is a member's   any     adopt, then update-email                            11
    no      none, the state knows no links     same    hold `possible-rename`                              12
    no      none                               any     create                                              13

Before an address is given to a person, the first that applies (module email_moves):
`invalid-email`, `missing-display-name`, `domain-not-allowed`, `contested-email`, `email-taken`, `email-swap`,
`waits-for-held`.

A **link whose person is not entitled** any more (module leavers):

    member inactive                            in sync                              14
    member's email is protected                note `protected`, here and above     15
    still assigned individually, and active    hold, entitled or not assigned       16
    vanished for fewer than `grace_reads`      note `in-grace`                      17
    a new person has the member's email        hold `recycled-address`               9
    otherwise                                  deactivate                           18

A member that an unconfirmed create made (module unconfirmed_creates) belongs to its person: it is adopted, or as a
second one `duplicate-member`, which is deactivated when the person leaves (`duplicate-left`).

An active member without a link and without a matching person (module unlinked) is unmanaged: a note, or by policy a
deactivation.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.diff.assignments import Entitlement, collect_assignments
from agent.diff.builder import PlanBuilder, new_plan_builder
from agent.diff.drift import SourceExpectation, drift_notes
from agent.diff.email_moves import resolve_email_claims
from agent.diff.entitled import decide_entitled
from agent.diff.leavers import decide_leavers
from agent.diff.unconfirmed_creates import resolve_unconfirmed_creates
from agent.diff.undone_changes import still_undone_changes
from agent.diff.unlinked import decide_unlinked
from agent.model import Change, Hold, Inputs, Kind, MemberCounts, Note, Plan, Policy, SourceCounts
from agent.model.codes import ChangeCode
from agent.model.email import normalize
from connectors.base import PersonKey, Snapshot

__all__ = ["compute_plan", "leavers_to_look_up"]

PHASES = {
    Kind.ADOPT: 0,
    Kind.DEACTIVATE: 1,
    Kind.UPDATE_EMAIL: 2,
    Kind.REACTIVATE: 3,
    Kind.UPDATE_NAME: 4,
    Kind.CREATE: 5,
}
# The limit of lookups of leavers at their source (design, row 18).
MAX_LOOKUPS = 25


UNEXPLAINED_CODES = frozenset({ChangeCode.LEFT_GROUPS, ChangeCode.NO_LONGER_ASSIGNED, ChangeCode.DUPLICATE_LEFT})
"""Codes of leavers that the snapshots do not show at all."""


def compute_plan(inputs: Inputs, policy: Policy) -> Plan:
    """Return the changes, holds and notes that bring the listing in sync with the snapshots, before any guard."""
    people = collect_assignments(inputs.snapshots, policy)
    builder = new_plan_builder(inputs, policy, people)
    resolve_unconfirmed_creates(builder)
    decide_entitled(builder)
    decide_leavers(builder)
    decide_unlinked(builder)
    depths = resolve_email_claims(builder)
    notes = {Note(note.code, note.email, note.reason) for snapshot in inputs.snapshots for note in snapshot.notes}
    ours = {link.scim_id for link in builder.recovered_links} | {member.scim_id for _, member in builder.duplicates}
    notes.update(
        drift_notes(inputs.memory, builder.members, frozenset(ours), SourceExpectation(builder, frozenset(ours)))
    )
    return Plan(
        workspace=policy.workspace,
        mode=policy.mode,
        sources=_source_counts(inputs.snapshots, builder),
        members=_member_counts(builder),
        in_sync=builder.in_sync,
        changes=tuple(sorted(builder.changes, key=lambda change: _change_order(change, depths))),
        holds=tuple(sorted(builder.holds, key=_hold_order)),
        notes=tuple(sorted({*notes, *builder.notes}, key=_note_order)),
        updated_links=tuple(sorted(builder.updated_links, key=lambda link: link.person)),
        possible_renames=frozenset(builder.possible_renames),
        checked_creates=tuple(builder.checked_creates),
        undone_changes=still_undone_changes(builder),
    )


def _change_order(change: Change, depths: dict[str, int]) -> tuple[int, int, str, str]:
    """Return where a change stands in the order of applying (design section 7)."""
    phase = PHASES[Kind.UPDATE_EMAIL] if change.changes_email else PHASES[change.kind]
    depth = depths.get(change.scim_id or "", 0) if change.changes_email else 0
    return phase, depth, normalize(change.email), change.scim_id or ""


def _hold_order(hold: Hold) -> tuple[str, str, str, str, PersonKey]:
    return normalize(hold.email), hold.kind, hold.code, hold.scim_id or "", hold.person or PersonKey("", "")


def _note_order(note: Note) -> tuple[str, str, str, str]:
    return note.code, normalize(note.email), note.reason, note.email


def _source_counts(snapshots: Sequence[Snapshot], builder: PlanBuilder) -> tuple[SourceCounts, ...]:
    by_source = {snapshot.source: snapshot for snapshot in snapshots}
    by_key = builder.assignments.by_key
    others = {key for key, assigned in by_key.items() if assigned.entitlement is not Entitlement.ENTITLED}
    # People that the policy ignores are not in it.
    are_all_known = len(by_key) == sum(len(snapshot.people) for snapshot in by_source.values())
    counts = []
    for source in builder.policy.sources:
        snapshot = by_source[source]
        individual = sum(person.individual and not person.groups for person in snapshot.people)
        entitled = len(snapshot.people)
        if others or not are_all_known:
            entitled = sum(
                (key := (person.connector, person.id)) in by_key and key not in others for person in snapshot.people
            )
        groups = tuple(sorted((group.id, group.name, group.people) for group in snapshot.groups))
        counts.append(
            SourceCounts(
                connector=source.connector,
                app=source.app,
                people=len(snapshot.people),
                entitled=entitled,
                groups=groups,
                individual=individual,
            )
        )
    return tuple(counts)


def _member_counts(builder: PlanBuilder) -> MemberCounts:
    members = builder.members
    # Of nearly everyone, so no set of all the others is made.
    inactive_ids = {scim_id for scim_id, member in members.items() if member.active is not True}
    ours = {link.scim_id for link in builder.inputs.memory.links if link.scim_id in members}
    linked = len(ours)
    ours.update(change.scim_id for change in builder.changes if change.kind is Kind.ADOPT and change.scim_id in members)
    # A second member that an unconfirmed create made belongs to that person, and may be deactivated with the first.
    ours.update(member.scim_id for _, member in builder.duplicates)
    guarded = len(ours) - len(ours & inactive_ids)
    return MemberCounts(total=len(members), active=len(members) - len(inactive_ids), linked=linked, guarded=guarded)


def leavers_to_look_up(plan: Plan) -> tuple[PersonKey, ...]:
    """Return the leavers that no snapshot shows, at most 25, to be looked up at their source.

    *plan* was computed from inputs without `Inputs.leaver_status`.
    """
    asked = [
        change.person
        for change in plan.changes
        if change.kind is Kind.DEACTIVATE and change.code in UNEXPLAINED_CODES and change.person
    ]
    return tuple(dict.fromkeys(asked))[:MAX_LOOKUPS]
