"""Find outside changes that the sources call for: then another tool works from the same sources. Pure."""

from __future__ import annotations

from agent.diff.builder import PlanBuilder
from agent.diff.drift import Difference
from agent.diff.leavers import would_deactivate
from agent.model import Member
from agent.model.email import normalize
from connectors.base import PersonKey

__all__ = ["Sources"]


class Sources:
    """What the sources call for, once everything else of the plan is decided.

    *ours* are members that our unconfirmed creates made. An unconfirmed create may have made any member of its person
    or with its email, so no difference of such a member is attributed to another tool.
    """

    def __init__(self, builder: PlanBuilder, ours: frozenset[str]) -> None:
        self._draft = builder
        self._ours = ours
        self._unsettled_emails = {
            normalize(unconfirmed.email) for unconfirmed in builder.inputs.memory.unconfirmed_creates
        }
        self._unsettled_people = {unconfirmed.person for unconfirmed in builder.inputs.memory.unconfirmed_creates}

    def call_for(self, difference: Difference, member: Member) -> bool:
        """Return whether our own plan would have made *difference*, and leaves nothing to do for *member*."""
        builder, scim_id = self._draft, member.scim_id
        assigned = builder.in_sync_people.get(scim_id)
        person = assigned.key if assigned else builder.person_by_scim_id.get(scim_id)
        if scim_id in self._ours or builder.is_protected(member) or self._is_unsettled(member, person):
            return False
        if assigned is None:
            return difference is Difference.ACTIVE and member.active is False and would_deactivate(builder, member)
        if difference is Difference.CREATED:
            # What has a link is known from before, whatever the last listing showed.
            return scim_id not in builder.person_by_scim_id
        return difference is not Difference.NAME or assigned.person.display_name != ""

    def _is_unsettled(self, member: Member, person: PersonKey | None) -> bool:
        return (
            self._draft.normalized_emails[member.scim_id] in self._unsettled_emails or person in self._unsettled_people
        )
