"""What `probe` finds out about a workspace, what it remembers of its canary, and what a run concludes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from agent.model.email import normalize
from agent.model.inputs import Member
from agent.model.server_facts import AS_ASSUMED, ServerFacts
from agent.model.verification import Verification, VerificationKind, VerificationResult

__all__ = [
    "CANARY_GIVEN_NAME",
    "EXPECTED_FACTS",
    "FOREIGN_DOMAIN",
    "CanaryRecord",
    "Fact",
    "FactVerdict",
    "canary_ids",
    "fact_rows",
    "is_home",
    "load_facts",
    "load_record",
    "plus_address",
    "probe_document",
    "server_facts",
]

FOREIGN_DOMAIN = "example.invalid"
"""Reserved (RFC 2606): no mail can arrive there, and no company has it."""

CANARY_GIVEN_NAME = "Canary"
NOT_TRIED = "not tried"

EXPECTED_FACTS: Mapping[str, str] = {
    "create": "201 with the member",
    "read-by-id": "200 with the member",
    "read-lag": "no lag",
    "active-type": "a boolean",
    "name-formatted": "the display name",
    "name-parts": "not stored",
    "version": "no version",
    "byte-order-mark": "no mark",
    "filter": "200, 1 member",
    "filter-case": "200, 1 member",
    "filter-emails": "200, 1 member",
    "no-match": "200, 0 members",
    "listed": "once",
    "total-results": "the number of members",
    "page-size": "as requested",
    "listing-order": "the same twice",
    "next-cursor": "no cursor",
    "groups": "404",
    "patch-display-name": "200, changed",
    "patch-formatted": "200, changed",
    "patch-email": "200, not changed",
    "patch-user-name": "200, not changed",
    "patch-mixed": "the name changed, the email not",
    "put-email": "200, changed",
    "id-after-email": "the same",
    "put-active": "as sent",
    "external-id": "not stored",
    "put-without-active": "not changed",
    "create-again": "409 uniqueness",
    "create-again-case": "409 uniqueness",
    "deactivate": "200, changed",
    "inactive-listed": "once",
    "inactive-found": "200, 1 member",
    "create-again-inactive": "409 uniqueness",
    "reactivate": "200, changed",
    "patch-active-text": "200, changed",
    "foreign-domain": "201 with the member, or 400 invalidValue with a domain restriction",
    "put-foreign-domain": "as a create with this domain",
    "delete": "204, the member stays listed and is inactive",
}
"""What `apis/pigment-scim.md` documents or assumes, by code, in the order of the report."""


class FactVerdict(StrEnum):
    AS_ASSUMED = "as-assumed"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fact:
    """One assumption, and what the workspace showed."""

    code: str
    seen: str
    verdict: FactVerdict

    @property
    def expected(self) -> str:
        return EXPECTED_FACTS[self.code]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRecord:
    """What the state remembers of one canary, so that a later probe can prove that a member is its own.

    *members* are the homes of its members by SCIM id: the address that each has when nothing is under way. The canary
    itself is *canary_id*. *nonce* is part of every name that a probe gives, and shows whose a member is when its id was
    never recorded. *target* is the fingerprint of the workspace. *is_restored*: proved to be as a probe leaves it.
    """

    canary: str
    nonce: str
    target: str
    canary_id: str = ""
    members: Mapping[str, str] = field(default_factory=dict)
    step: str = ""
    is_restored: bool = False

    @property
    def display_name(self) -> str:
        return f"{CANARY_GIVEN_NAME} {self.nonce}"

    @property
    def second_address(self) -> str:
        return plus_address(self.canary, "probe")

    @property
    def duplicate_address(self) -> str:
        """The address that the next second member with the canary's own address is moved to."""
        return self._duplicate_addresses[-1]

    @property
    def _duplicate_addresses(self) -> list[str]:
        numbers = range(1, len(self.members) + 2)
        addresses = [plus_address(self.canary, f"duplicate-{self.nonce}-{number}") for number in numbers]
        used = {address for address in addresses if address in self.members.values()}
        return [*used, next(address for address in addresses if address not in used)]

    @property
    def foreign_address(self) -> str:
        return f"{self.canary.rpartition('@')[0]}@{FOREIGN_DOMAIN}"

    @property
    def second_foreign_address(self) -> str:
        return f"{self.second_address.rpartition('@')[0]}@{FOREIGN_DOMAIN}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses that a member of this record may have."""
        return (
            self.canary,
            self.second_address,
            *self._duplicate_addresses,
            self.foreign_address,
            self.second_foreign_address,
        )

    def owns(self, member: Member) -> bool:
        """Return whether a probe created *member*: by its id or by its name, and only under one of the addresses.

        An id that is an address proves nothing: another member may have it by now.
        """
        email = normalize(member.email)
        if email not in map(normalize, self.addresses):
            return False
        names = f"{member.display_name} {member.formatted or ''}"
        is_recorded = member.scim_id in self.members and normalize(member.scim_id) != email
        return is_recorded or self.nonce in names

    def home_of(self, member: Member, owned: Sequence[Member]) -> str:
        """Return the address that *member* must have in the end; *owned* are all members of this record."""
        if member.scim_id in self.members:
            return self.members[member.scim_id]
        if normalize(member.email) == normalize(self.foreign_address):
            return member.email
        has_canary = any(each.scim_id == self.canary_id for each in owned if each.scim_id != member.scim_id)
        return self.duplicate_address if has_canary else self.canary

    def with_member(self, scim_id: str, home: str, *, is_canary: bool = False) -> CanaryRecord:
        """Return the record with a member. The canary has one id: a second one is what its first became."""
        members = {key: each for key, each in self.members.items() if not is_canary or key != self.canary_id}
        members[scim_id] = home
        return replace(self, members=members, canary_id=scim_id if is_canary else self.canary_id)

    def with_only(self, existing: Collection[str]) -> CanaryRecord:
        """Return the record with those of its members that exist."""
        members = {key: each for key, each in self.members.items() if key in existing}
        return replace(self, members=members, canary_id=self.canary_id if self.canary_id in members else "")


def is_home(member: Member, home: str) -> bool:
    """Return whether *member* is as a probe leaves it: inactive, at its *home*."""
    return member.active is False and normalize(member.email) == normalize(home)


def plus_address(email: str, word: str) -> str:
    """Return the address of the same mailbox with *word* after a plus sign."""
    local, _, domain = email.rpartition("@")
    return f"{local}+{word}@{domain}"


def fact_rows(facts: Mapping[str, Fact]) -> list[dict[str, str]]:
    """Return a row for each assumption, in the order of the report; what was not tried is unknown."""
    shown = [facts.get(code, Fact(code, NOT_TRIED, FactVerdict.UNKNOWN)) for code in EXPECTED_FACTS]
    return [
        {"code": each.code, "expected": each.expected, "seen": each.seen, "verdict": each.verdict.value}
        for each in shown
    ]


def probe_document(
    workspace: str, record: CanaryRecord, at: str, facts: Mapping[str, Fact], *, keeps_record: bool
) -> dict[str, object]:
    """Return the JSON document of a probe; with *keeps_record* also what the state alone remembers."""
    document: dict[str, object] = {
        "version": 1,
        "workspace": workspace,
        "canary": record.canary,
        "at": at,
        "facts": fact_rows(facts),
    }
    if keeps_record:
        document["record"] = {
            "nonce": record.nonce,
            "target": record.target,
            "canary_id": record.canary_id,
            "members": dict(record.members),
            "step": record.step,
            "is_restored": record.is_restored,
        }
    return document


def load_record(verification: Verification) -> CanaryRecord | None:
    """Return the canary of a probe as the state remembers it, None when it has none."""
    found = verification.document.get("record")
    if not isinstance(found, Mapping):
        return None
    members = found.get("members")
    return CanaryRecord(
        canary=verification.subject,
        nonce=str(found.get("nonce", "")),
        target=str(found.get("target", "")),
        canary_id=str(found.get("canary_id", "")),
        members={str(key): str(home) for key, home in members.items()} if isinstance(members, Mapping) else {},
        step=str(found.get("step", "")),
        is_restored=found.get("is_restored") is True,
    )


def load_facts(verification: Verification) -> dict[str, Fact]:
    """Return the facts of a recorded probe by code, without those that are unknown."""
    rows = verification.document.get("facts")
    facts = {}
    for row in rows if isinstance(rows, Sequence) else ():
        if isinstance(row, Mapping) and row.get("code") in EXPECTED_FACTS and row.get("verdict") != FactVerdict.UNKNOWN:
            fact = Fact(str(row["code"]), str(row.get("seen", "")), FactVerdict(str(row.get("verdict"))))
            facts[fact.code] = fact
    return facts


def canary_ids(probes: Iterable[Verification], members: Iterable[Member], linked_ids: Iterable[str]) -> frozenset[str]:
    """Return the ids of the members that probes created, *linked_ids* excepted: those belong to people by now."""
    records = [record for each in probes if (record := load_record(each)) is not None]
    if not records:
        return frozenset()
    recorded = {scim_id for record in records for scim_id in record.members}
    shown = {member.scim_id: member for member in members}
    owned = {scim_id for scim_id, member in shown.items() if any(record.owns(member) for record in records)}
    # A recorded member that is listed under another address is not a probe's any more.
    gone = recorded - shown.keys()
    return frozenset(owned | gone).difference(linked_ids)


UNUSABLE_FILTER_CODES = ("filter", "filter-case")


def server_facts(verifications: Iterable[Verification], target: str) -> ServerFacts:
    """Return what the newest complete probe of the workspace with the fingerprint *target* found out.

    *verifications* are newest first.
    """
    for each in verifications:
        record = load_record(each)
        is_complete = each.result in {VerificationResult.PASSED, VerificationResult.DIFFERS}
        if each.kind is VerificationKind.PROBE and is_complete and record is not None and record.target == target:
            return _concluded(load_facts(each))
    return AS_ASSUMED


def _concluded(facts: Mapping[str, Fact]) -> ServerFacts:
    def is_ineffective(code: str) -> bool:
        # An effect that is answered in another way, such as 204, is proved by a GET after each write.
        seen = facts[code].seen if code in facts else ""
        return seen.endswith("not changed") or seen[:1] in {"4", "5"}

    def differs(code: str) -> bool:
        return code in facts and facts[code].verdict is FactVerdict.DIFFERS

    return ServerFacts(
        patches_names=not (is_ineffective("patch-display-name") or is_ineffective("patch-formatted")),
        patches_active=not (is_ineffective("deactivate") or is_ineffective("reactivate")),
        filters=not any(map(differs, UNUSABLE_FILTER_CODES)),
    )
