"""The evidence of a run: every rendering, its plan, its rows of the journal, and a manifest with their digests.

A verifier needs nothing of ours: the files are plain, and the manifest has the SHA-256 and the size of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import cast

import orjson

from agent.model.approval import Approval
from agent.model.provenance import Provenance
from agent.model.run import ChangeRecord, Run
from agent.report.document import encode_document, to_json_bytes
from agent.report.escape import escape_json, escape_surrogates
from agent.report.render import Format, RenderOptions, render
from agent.report.run_identity import format_utc
from agent.report.schema import Document, Outcomes, WorkspaceObject

__all__ = ["MANIFEST_NAME", "Evidence", "evidence_files", "manifest"]

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1
REPORT_NAMES = {
    Format.TEXT: "report.txt",
    Format.JSON: "report.json",
    Format.MARKDOWN: "report.md",
    Format.HTML: "report.html",
    Format.CSV: "report.csv",
}
NO_LIMIT = 10**12


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the journal has of a run. *document* is its plan document, with the run in it."""

    run: Run
    document: Document
    outcomes: Outcomes
    approvals: Sequence[Approval]
    records: Sequence[ChangeRecord]

    @property
    def workspace(self) -> WorkspaceObject:
        (workspace,) = self.document["workspaces"]
        return workspace


def evidence_files(evidence: Evidence, options: RenderOptions) -> dict[str, bytes]:
    """Return the files by name, without the manifest. Nothing is left out of any format."""
    whole = replace(options, colour=False, verbose=True, max_chars=NO_LIMIT)
    reports = {
        name: render(evidence.document, form, whole, evidence.outcomes).encode() for form, name in REPORT_NAMES.items()
    }
    return {**reports, "plan.json": encode_document(evidence.document), "journal.jsonl": _journal_lines(evidence)}


def manifest(evidence: Evidence, files: Mapping[str, bytes], tool: Provenance, written_at: datetime) -> bytes:
    """Return the manifest of *files*: digests and sizes, whose run it is, and the release that wrote it (*tool*)."""
    workspace = evidence.workspace
    return to_json_bytes(
        {
            "version": MANIFEST_VERSION,
            "run": {
                **cast("Mapping[str, object]", workspace.get("run", {})),
                "workspace": workspace["name"],
                "mode": workspace["mode"],
                "user": evidence.run.user,
                "plan_digest": workspace["digest"],
            },
            "tool": {"name": "pigment-sync", "version": tool.version, "commit": tool.commit},
            "written_at": format_utc(written_at),
            "files": [
                {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
                for name, content in sorted(files.items())
            ],
        }
    )


def _journal_lines(evidence: Evidence) -> bytes:
    """Return one JSON object in a line for the run, each approval, and each change in the order of sending."""
    rows = [_run_row(evidence.run), *map(_approval_row, evidence.approvals), *map(_change_row, evidence.records)]
    text = "".join(
        orjson.dumps(dict(_encodable(row)), option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS).decode()
        for row in rows
    )
    return escape_json(text).encode()


def _encodable(row: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in row.items():
        if isinstance(value, str):
            yield key, escape_surrogates(value)
        elif isinstance(value, dict):
            yield key, dict(_encodable(value))
        else:
            yield key, [escape_surrogates(each) for each in value] if isinstance(value, list | tuple) else value


def _run_row(run: Run) -> dict[str, object]:
    return {
        "row": "run",
        "id": run.id,
        "workspace": run.workspace,
        "trigger": run.trigger.value,
        "dry_run": run.dry_run,
        "status": run.status.value,
        "started_at": _exact_time(run.started_at),
        "finished_at": _exact_time(run.finished_at),
        "by": run.by,
        "reason": run.reason,
        "user": run.user,
        "digest": run.digest,
        "approved_digest": run.approved_digest,
        "error": run.error,
        "requests": run.requests,
        "target": run.target,
        "counts": None if run.tally is None else asdict(run.tally),
        "made_with": None if run.provenance is None else asdict(run.provenance),
    }


def _approval_row(approval: Approval) -> dict[str, object]:
    return {"row": "approval", **asdict(approval), "at": _exact_time(approval.at), "guards": list(approval.guards)}


def _change_row(record: ChangeRecord) -> dict[str, object]:
    change = record.change
    person = change.person
    return {
        "row": "change",
        "run": record.run_id,
        "seq": record.seq,
        "kind": change.kind.value,
        "email": change.email,
        "display_name": change.display_name,
        "scim_id": record.scim_id,
        "person": None if person is None else {"connector": person.connector, "id": person.id},
        "before": asdict(change.before),
        "after": asdict(change.after),
        "code": str(change.code),
        "reason": change.reason,
        "groups": list(change.groups),
        "outcome": record.outcome.value,
        "detail": record.detail,
        "sent_at": _exact_time(record.sent_at),
        "answered_at": _exact_time(record.answered_at),
    }


def _exact_time(moment: datetime | None) -> str | None:
    """Return *moment* with the microseconds that the journal keeps."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
