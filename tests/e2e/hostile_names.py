"""Hostile names, addresses and ids, and the checks that they do no harm in the agent's output."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

from sandbox.company import Person
from sandbox.pigment.member import Member
from sandbox.pigment.workspace import PigmentWorkspace
from sandbox.server import Sandbox

__all__ = ["EMAILS", "GROUP", "IDS", "MEMBERS", "NAMES", "HostilePage", "cells", "filled", "raw"]

ESC, CSI, NUL, RLO, BOM = "\x1b", "\x9b", "\x00", "\u202e", "\ufeff"

NAMES = (
    f"{ESC}[2J{ESC}[31mRed{ESC}[0m",
    f"{CSI}31mEight Bits",
    f"{ESC}]0;title\x07Bell",
    "Two\nlines\r\npigment-latam: 99 deactivated",
    f"Nul{NUL}Byte",
    f"Right{RLO}gnp.exe",
    f"Hid\u200bden{BOM} \u2066Isolate",
    "Line\u2028Separator\x85Next",
    "Tag\U000e0041\U000e0042s",
    '=HYPERLINK("https://phish.example.com","click")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1+1)*cmd",
    "\t=1+1",
    "Ana;=1+1",
    "Ana | =1+1",
    "＝1＋1",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "</table></details>",
    "[click](javascript:alert(1)) ![x](https://phish.example.com/x.png)",
    "| a | b |\n|---|---|",
    "`code` **bold** @everyone #1",
    "%s %(x)s {0} ${HOME} $(id)",
    "' OR 1=1; DROP TABLE links; --",
    "back\\slash\\u0000 \\x1b",
    "😀 e\u0301\u200d family 👨‍👩‍👧",
    "x" * 5000,
)
"""Given names of people who are hired into the group below; each has a harmless address."""

EMAILS = (
    '=HYPERLINK("x")@acme.com',
    "=1+1@acme.com",
    "+a|b@acme.com",
    f"esc{ESC}[31m@acme.com",
    f"nul{NUL}@acme.com",
    f"rlo{RLO}moc@acme.com",
    "two\nlines@acme.com",
    "<script>alert(1)</script>@acme.com",
    "<img/src=x/onerror=alert(1)>@acme.com",
    f"{CSI}2Jc1@acme.com",
    "a/b?c=d#e%2f@acme.com",
    "o'brien\"quote@acme.com",
)
"""Email addresses of people with harmless names. Some are valid by the letter of the standard, some are not."""

IDS = (
    "00u/../../apps?limit=1#x",
    f"00u{ESC}[2Jid",
    "00u a+b%2F&c='\"<script>",
    f"00u{NUL}{RLO}",
    "=1+1",
)
"""Ids that a directory gives to people."""

MEMBERS = (
    ("a/b?c=d#e%2F'", "slash"),
    ("../../other/scim/v2/Users/1", "dots"),
    (f"{ESC}[31mid", "escape"),
    (f"{RLO}rid{CSI}\n", "bidi"),
    ('=HYPERLINK("x")', "formula"),
    ("<script>alert(1)</script>", "script"),
)
"""SCIM ids of members, and a word of ours for each; two people and a stranger have such a member."""

GROUP = f"Group {ESC}[31m{RLO}<script>alert(1)</script>\n=cmd"


def filled(sandbox: Sandbox, space: PigmentWorkspace) -> dict[str, Person]:
    """Hire all people above into `GROUP`, and give the workspace members above; return the people by SCIM name or id.

    Members at even positions belong to people by their email, the others to no person.
    """
    company, home = sandbox.company, sandbox.company.okta
    group = home.add_group(GROUP)
    company.assign_group(home.pigment, group.id)
    people = [
        *(company.hire("okta", name, "Tester", [group.id], f"name{n}@acme.com") for n, name in enumerate(NAMES)),
        *(company.hire("okta", f"Mail{n}", "Tester", [group.id], email) for n, email in enumerate(EMAILS)),
    ]
    for number, key in enumerate(IDS):
        person = company.hire("okta", f"Id{number}", "Tester", [], f"id{number}@acme.com")
        del home.people[person.id]
        person.id = key
        home.people[key] = person
        home.id_by_address[person.email] = key
        group.people.append(key)
        people.append(person)
    for number, (scim_id, word) in enumerate(MEMBERS):
        if number % 2 == 0:
            people.append(company.hire("okta", "Member", word, [group.id], f"{word}@acme.com"))
        name = f"Member {word}" if number % 2 else f"Former {NAMES[number]}"
        space.member_store.add(Member(scim_id, f"{word}@acme.com", name, space.now()))
    for number, email in enumerate((f"{ESC}[2Jstranger@acme.com", "=stranger|x@acme.com", f"s{NUL}\n@acme.com")):
        space.admin_create(email, NAMES[number])
    return {person.id: person for person in people}


RAW = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
# Joiners stay for the sake of names and emoji, tabs and line ends are ours; a byte-order mark may begin a file.


def raw(text: str) -> list[str]:
    """Return what in *text* would move a cursor, reverse a line or hide."""
    return [repr(text[max(0, found.start() - 30) : found.end() + 20]) for found in RAW.finditer(text)] + (
        [BOM] if BOM in text[1:] else []
    )


def cells(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV table, each as wide as its heading; none of its cells may start as a formula does.

    Nor may any part of one: some spreadsheets split at semicolons.
    """
    rows = list(csv.reader(io.StringIO(text.removeprefix(BOM), newline=""), strict=True))
    heading, *body = rows
    assert {len(row) for row in body} <= {len(heading)}
    formulas = [cell for row in rows for cell in row if re.search(r"(^|[;|])\s*[=+\-@＝＋－＠]", cell)]
    assert formulas == []
    return [dict(zip(heading, row, strict=True)) for row in body]


CODE = {"script", "style"}


class HostilePage(HTMLParser):
    """What a browser would make of a page: its elements, the code in it, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.scripts = 0
        self.handlers: list[str] = []
        self.text = ""
        self._in_code = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.scripts += tag == "script"
        self._in_code = tag in CODE
        self.handlers += [
            f"{name}={value}"
            for name, value in attributes
            if name.startswith("on") or (value or "").strip().casefold().startswith(("javascript:", "http"))
        ]

    def handle_endtag(self, tag: str) -> None:
        self._in_code = self._in_code and tag not in CODE

    def handle_data(self, data: str) -> None:
        if not self._in_code:
            self.text += data
