"""What tests look at in the lines of a provider's `check`."""

from __future__ import annotations

from connectors.base import CheckName, Finding

__all__ = ["levels", "message", "problems"]


def levels(findings: list[Finding]) -> dict[str, str]:
    """Return the worst level of each check."""
    worst: dict[str, str] = {}
    for finding in findings:
        worst[finding.name] = max(worst.get(finding.name, "ok"), finding.level, key=["ok", "warning", "error"].index)
    return worst


def problems(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "ok"]


def message(findings: list[Finding], name: CheckName) -> str:
    (found,) = [finding.message for finding in findings if finding.name is name]
    return found
