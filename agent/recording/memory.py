"""What a recording keeps of the state and of the configuration: what a plan uses, with made-up values. Pure.

Names of workspaces and connectors become numbers, in the same order. Times become microseconds before the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agent.model.email import normalize
from agent.model.policy import SUPPORT_EMAILS, protected_pattern
from agent.recording.pseudonyms import Visitor

__all__ = ["Names", "domain_glob", "keep_row", "plan_summary", "protected_addresses", "restore_row"]

Row = Mapping[str, Any]
Convert = Callable[[Any], Any]
TIME_COLUMNS = frozenset(
    {
        *("since", "seen_at", "empty_since", "recorded_at", "started_at", "finished_at", "taken_at", "sent_at"),
        "answered_at",
    }
)
ID_COLUMNS = frozenset({"person", "scim_id", "group_id", "run_id", "id", "app"})
KEPT_COLUMNS = frozenset(
    {
        *("missed_reads", "people", "kind", "code", "trigger", "dry_run", "status", "guarded", "requests", "seq"),
        *("changes_email", "outcome", "accepted", "absences", "active", "changed", "held", "failed"),
    }
)
"""Numbers, and words of the agent's own."""

EMPTY_COLUMNS = frozenset({"reason", "error", "for_user"})
HIDDEN_TEXT = "not recorded"
COMPUTED_COLUMNS = frozenset({"former_email"})
SPECIAL_GLOB = str.maketrans(dict.fromkeys("*?[]", "?"))


def _numbered(kind: str, names: Iterable[str]) -> dict[str, str]:
    ordered = sorted(set(names))
    width = len(str(len(ordered)))
    return {name: f"{kind}-{number:0{width}}" for number, name in enumerate(ordered, 1)}


@dataclass(frozen=True, slots=True)
class Names:
    """The made-up names of workspaces, connectors and what they stand for."""

    workspaces: Mapping[str, str]
    connectors: Mapping[str, str]
    targets: Mapping[str, str]

    @classmethod
    def of(cls, workspaces: Mapping[str, str], connectors: Mapping[str, str], rows: Iterable[tuple[str, Row]]) -> Names:
        """Return the names of what is configured, each with its fingerprint, and of what *rows* name besides."""
        listed = [row for _, row in rows]
        all_workspaces = _numbered("workspace", [*workspaces, *(row["workspace"] for row in listed)])
        named = {row["connector"] for row in listed if row.get("connector")}
        all_connectors = _numbered("connector", [*connectors, *named])
        known = {fingerprint: f"workspace {all_workspaces[name]}" for name, fingerprint in workspaces.items()}
        known |= {fingerprint: f"connector {all_connectors[name]}" for name, fingerprint in connectors.items()}
        found = [row.get("fingerprint") or row.get("target") for row in listed]
        others = sorted({each for each in found if each} - set(known))
        known |= {each: f"other {number}" for number, each in enumerate(others, 1)}
        return cls(all_workspaces, all_connectors, known)


def keep_row(row: Row, values: Visitor, names: Names, now: int) -> dict[str, Any]:
    """Return a row of the state with made-up values. *now* is the moment of the recording in microseconds."""
    return {column: _keep(column, value, values, names, now) for column, value in row.items()}


def _keep(column: str, value: Any, values: Visitor, names: Names, now: int) -> Any:
    if column in TIME_COLUMNS:
        return None if value is None else value - now
    if column in EMPTY_COLUMNS:
        return ""
    if value is None or column in KEPT_COLUMNS or value == "":
        return value
    converted: dict[str, Convert] = {
        "workspace": names.workspaces.__getitem__,
        "connector": names.connectors.__getitem__,
        "fingerprint": names.targets.__getitem__,
        "target": names.targets.__getitem__,
        "name": values.name,
        "display_name": values.name,
        "email": values.email,
        "groups": lambda text: _keep_groups(orjson.loads(text), values),
        "change": lambda text: _keep_change(orjson.loads(text), values, names),
        "members": lambda rows: [_keep_last_seen(each, values, names) for each in rows],
        "subject": values.email,
        "record": lambda record: _keep_canary(record, values),
        # Whether a create met a member is all that a plan reads of it.
        "detail": lambda _: HIDDEN_TEXT,
        "by": lambda _: HIDDEN_TEXT,
    }
    return values.id(value) if column in ID_COLUMNS else converted[column](value)


def _keep_groups(groups: list[Any], values: Visitor) -> list[Any]:
    """Return groups as links have them, (id, name), or as undone changes do, ids alone."""
    return [values.id(each) if isinstance(each, str) else [values.id(each[0]), values.name(each[1])] for each in groups]


def _keep_person(person: Sequence[str] | None, values: Visitor, names: Names) -> list[str] | None:
    return [names.connectors[person[0]], values.id(person[1])] if person else None


def _keep_change(change: Mapping[str, Any], values: Visitor, names: Names) -> dict[str, Any]:
    return {
        "kind": change["kind"],
        "code": change["code"],
        "reason": "",
        "email": values.email(change["email"]),
        "display_name": values.name(change["display_name"]),
        "given_name": values.name(change.get("given_name", "")),
        "family_name": values.name(change.get("family_name", "")),
        "scim_id": _optional(values.id, change["scim_id"]),
        "waits_for": _optional(values.id, change.get("waits_for")),
        "person": _keep_person(change["person"], values, names),
        "before": _keep_fields(change["before"], values),
        "after": _keep_fields(change["after"], values),
        "group_refs": _keep_groups(change["group_refs"], values),
    }


def _keep_fields(fields: Mapping[str, Any], values: Visitor) -> dict[str, Any]:
    kept = dict(fields)
    if fields.get("email") is not None:
        kept["email"] = values.email(fields["email"])
    if fields.get("display_name") is not None:
        kept["display_name"] = values.name(fields["display_name"])
    return kept


def _keep_last_seen(member: Sequence[Any], values: Visitor, names: Names) -> list[Any]:
    scim_id, email, name, active, person, groups = member
    return [
        values.id(scim_id),
        values.email(email),
        values.name(name),
        active,
        _keep_person(person, values, names),
        [values.name(each) for each in groups],
    ]


def _keep_canary(record: Mapping[str, Any], values: Visitor) -> dict[str, Any]:
    """Return which members a probe created."""
    members = {values.id(scim_id): values.email(home) for scim_id, home in record["members"].items()}
    return {"canary_id": values.id(record["canary_id"]) if record["canary_id"] else "", "members": members}


def _optional(replace: Callable[[str], str], value: str | None) -> str | None:
    return None if value is None else replace(value)


def restore_row(row: Row, now: int, targets: Mapping[str, str]) -> dict[str, Any]:
    """Return a recorded row as the state holds it *now*: times as old as they were, and the targets of the replay."""
    return {column: _restore(column, value, now, targets) for column, value in row.items()}


def _restore(column: str, value: Any, now: int, targets: Mapping[str, str]) -> Any:
    if column in TIME_COLUMNS:
        return None if value is None else max(0, now + value)
    if column in {"groups", "change"}:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if column == "change" else 0).decode()
    return targets.get(value, value) if column in {"fingerprint", "target"} and value else value


def domain_glob(glob: str) -> str:
    """Return the domain of a pattern such as `*@acme.com`, empty for any other pattern."""
    local, _, domain = glob.partition("@")
    return domain if local == "*" and domain and not set(domain) & set("*?[]@") else ""


def protected_addresses(globs: Sequence[str], emails: Iterable[str], values: Visitor) -> list[str]:
    """Return what `protect` must be so that it protects the replacements of exactly those that *globs* protect."""
    domains = sorted({domain for each in globs if (domain := domain_glob(each))})
    pattern = protected_pattern([each for each in globs if not domain_glob(each)])
    found = {
        normalize(values.email(email)).translate(SPECIAL_GLOB)
        for email in emails
        if "@" in email and normalize(email) not in SUPPORT_EMAILS and pattern.match(normalize(email))
    }
    return [*(f"*@{values.domain(domain)}" for domain in domains), *sorted(found)]


def plan_summary(planned: Mapping[str, Any], values: Visitor, names: Names) -> dict[str, Any]:
    """Return what a replay must plan alike, of a workspace's object of the plan document: all but its sentences."""
    summary: dict[str, Any] = {"workspace": names.workspaces[planned["name"]], "status": planned["status"]}
    if planned["status"] != "planned":
        return summary | {"error": planned["error"]["code"]}
    changes = [_keep_entry(each, values, names) for each in planned["changes"]]
    holds = [_keep_entry(each, values, names) for each in planned["holds"]]
    notes = [{"code": each["code"], "email": values.email(each["email"])} for each in planned["notes"]]
    return summary | {
        "counts": planned["counts"],
        "members": planned["members"],
        "sources": [
            {
                **{key: source[key] for key in ("people", "entitled", "individual")},
                "connector": names.connectors[source["connector"]],
                "app": values.id(source["app"]),
                "groups": sorted([values.id(each["id"]), each["people"]] for each in source["groups"]),
            }
            for source in planned["sources"]
        ],
        "changes": changes,
        "holds": sorted(holds, key=_sort_key),
        "notes": sorted(notes, key=_sort_key),
        "guards": [{key: each[key] for key in ("code", "count", "recent")} for each in planned.get("guards", ())],
    }


def _sort_key(entry: Mapping[str, Any]) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)


def _keep_entry(entry: Mapping[str, Any], values: Visitor, names: Names) -> dict[str, Any]:
    person = entry.get("person")
    shown: dict[str, Any] = {
        "kind": entry["kind"],
        "code": entry["code"],
        "change_code": entry.get("change_code"),
        "email": values.email(entry["email"]),
        "wanted": _optional(values.email, entry.get("wanted")),
        "display_name": _optional(values.name, entry.get("display_name")),
        "scim_id": _optional(values.id, entry.get("scim_id")),
        "waits_for": _optional(values.id, entry.get("waits_for")),
        "person": _keep_person([person["connector"], person["id"]], values, names) if person else None,
        "before": _keep_fields(entry.get("before", {}), values),
        "after": _keep_fields(entry.get("after", {}), values),
        "groups": sorted(map(values.name, entry.get("groups", ()))),
    }
    return {key: value for key, value in shown.items() if value is not None}
