"""The results of `check`, `probe` and `compare`."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, delete, insert, select

from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.ports.verifications import KEPT_VERIFICATIONS
from agent.store.codec import from_micros, to_micros
from agent.store.tables import verifications

__all__ = ["load_verifications", "record_verification"]


def record_verification(connection: Connection, verification: Verification) -> None:
    columns = verifications.c
    of_its_kind = (columns.workspace == verification.workspace) & (columns.kind == verification.kind)
    started_at = to_micros(verification.started_at)
    connection.execute(delete(verifications).where(of_its_kind, columns.started_at == started_at))
    connection.execute(
        insert(verifications).values(
            workspace=verification.workspace,
            kind=verification.kind,
            started_at=started_at,
            result=verification.result,
            subject=verification.subject,
            by=verification.by,
            version=verification.version,
            document=orjson.dumps(verification.document, option=orjson.OPT_SORT_KEYS),
        )
    )
    kept = select(columns.started_at).where(of_its_kind).order_by(columns.started_at.desc()).limit(KEPT_VERIFICATIONS)
    connection.execute(delete(verifications).where(of_its_kind, columns.started_at.not_in(kept)))


def load_verifications(
    connection: Connection, workspaces: Sequence[str], kind: VerificationKind | None
) -> tuple[Verification, ...]:
    columns = verifications.c
    wanted = [columns.workspace.in_(workspaces), *([] if kind is None else [columns.kind == kind])]
    rows = connection.execute(select(verifications).where(*wanted).order_by(columns.started_at.desc(), columns.kind))
    return tuple(
        Verification(
            workspace=row.workspace,
            kind=VerificationKind(row.kind),
            started_at=from_micros(row.started_at),
            result=VerificationResult(row.result),
            subject=row.subject,
            by=row.by,
            version=row.version,
            document=orjson.loads(row.document),
        )
        for row in rows
    )
