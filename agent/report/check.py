"""The findings of `check` as lines, JSON and JUnit XML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from agent.model.ladder import LadderStep, StepState
from agent.report.commands import split_commands
from agent.report.escape import escape_control
from agent.report.run_identity import format_utc
from connectors.base import Area, Finding

__all__ = ["NotChecked", "check_json", "check_junit", "check_text", "ladder_json", "not_checked_json"]

SIGNS = {"ok": "✓", "warning": "!", "error": "✗"}
ASCII_SIGNS = {"ok": "ok", "warning": "!", "error": "X"}
COLOURS = {"ok": "32", "warning": "33", "error": "31"}


class NotChecked(NamedTuple):
    """What an offline check left out, and why."""

    area: Area
    subject: str
    reason: str


def check_text(
    findings: Sequence[Finding],
    encoding: str,
    *,
    colour: bool,
    not_checked: Sequence[NotChecked] = (),
    ladders: Mapping[str, Sequence[LadderStep]] = MappingProxyType({}),
) -> str:
    """Return a line for each finding, with its remedy under it, and a last line with their numbers.

    Before the last line stands what was not checked, and the ladder to enforce of each workspace of *ladders*.

    The signs are ASCII where *encoding* lacks the others.
    """
    try:
        "".join(SIGNS.values()).encode(encoding)
        signs = SIGNS
    except (UnicodeError, LookupError):
        signs = ASCII_SIGNS
    lines = [line for finding in findings for line in _finding_lines(finding, signs[finding.level], colour)]
    counts = Counter(finding.level for finding in findings)
    warnings, errors = counts["warning"], counts["error"]
    if not_checked:
        lines.append("Not checked, because the check is offline:")
        lines.extend(f"-  {escape_control(each.subject)}: {escape_control(each.reason)}" for each in not_checked)
    for name, steps in ladders.items():
        lines.append(f"Ladder to enforce of {escape_control(name)}:")
        lines.extend(_ladder_lines(steps, signs))
    lines.append(
        f"{counts['ok']} ok, {warnings} {'warning' if warnings == 1 else 'warnings'}, "
        f"{errors} {'error' if errors == 1 else 'errors'}"
        + (f", {len(not_checked)} not checked" if not_checked else "")
    )
    return "".join(f"{line}\n" for line in lines)


def check_json(findings: Sequence[Finding]) -> dict[str, object]:
    """Return the findings as a document. It is *ok* without an error among them."""
    return {
        "version": 1,
        "ok": not any(finding.level == "error" for finding in findings),
        "checks": [
            {
                "area": each.area.value,
                "subject": each.subject,
                "name": each.name.value,
                "status": each.level,
                "message": each.message,
                "remedy": each.remedy,
            }
            for each in findings
        ],
    }


def not_checked_json(not_checked: Sequence[NotChecked]) -> list[dict[str, str]]:
    return [{"area": each.area.value, "subject": each.subject, "reason": each.reason} for each in not_checked]


def check_junit(findings: Sequence[Finding], not_checked: Sequence[NotChecked] = ()) -> str:
    """Return JUnit XML: a test case for each finding. An error is a failure, a warning passes and has its message.

    The class of a test case is the area, its name is the subject and the name of the check. What was not checked is a
    skipped test case.
    """
    failures = sum(finding.level == "error" for finding in findings)
    numbers = {
        "tests": str(len(findings) + len(not_checked)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(len(not_checked)),
    }
    suite = Element("testsuite", {"name": "pigment-sync check", **numbers})
    for finding in findings:
        message, remedy = escape_control(finding.message), escape_control(finding.remedy)
        case = _test_case(suite, finding.area, f"{finding.subject}: {finding.name}")
        if finding.level == "error":
            SubElement(case, "failure", message=message).text = remedy
        else:
            label = "warning: " if finding.level == "warning" else ""
            SubElement(case, "system-out").text = f"{label}{message} {remedy}".rstrip()
    for left_out in not_checked:
        case = _test_case(suite, left_out.area, left_out.subject)
        SubElement(case, "skipped", message=escape_control(left_out.reason))
    indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suite, "unicode")}\n'


def _test_case(suite: Element, area: Area, name: str) -> Element:
    return SubElement(suite, "testcase", classname=f"pigment-sync.check.{area}", name=escape_control(name))


def ladder_json(steps: Sequence[LadderStep]) -> list[dict[str, str | None]]:
    return [
        {
            "step": step.name.value,
            "state": step.state.value,
            "at": None if step.at is None else format_utc(step.at),
            "detail": step.detail,
            "command": step.command,
        }
        for step in steps
    ]


def _ladder_lines(steps: Sequence[LadderStep], signs: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each step, and the command of the first that is not done."""
    following = next((step for step in steps if step.state is not StepState.DONE), None)
    for step in steps:
        level = {StepState.DONE: "ok", StepState.FAILED: "error", StepState.OUTDATED: "warning"}.get(step.state)
        sign = "-" if level is None else signs[level]
        at = f", {step.at:%Y-%m-%d %H:%M} UTC" if step.at is not None else ""
        detail = f" ({escape_control(step.detail)})" if step.detail else ""
        yield f"{sign}{' ' * (3 - len(sign))}{step.name}: {step.state}{at}{detail}"
        if step is following:
            yield f"     {step.command}"


def _finding_lines(finding: Finding, sign: str, colour: bool) -> Iterator[str]:
    shown = f"\x1b[{COLOURS[finding.level]}m{sign}\x1b[0m" if colour else sign
    yield f"{shown}{' ' * (3 - len(sign))}{escape_control(finding.subject)}: {escape_control(finding.message)}"
    if finding.remedy and finding.level != "ok":
        for part, is_command in split_commands(escape_control(finding.remedy)):
            yield f"     {part}" if is_command else f"   {part}"
