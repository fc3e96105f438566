"""Replacements of persons: every comparison that a plan makes comes out alike, and no original is in them."""

from __future__ import annotations

import re
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.email import is_allowed, is_same_name, is_valid, normalize, normalize_domain, normalize_name
from agent.recording.pseudonyms import Collector, Replacements

HOSTILE = [
    "ana.souza@acme.com",
    "Ana.Souza@ACME.com",
    "ana.souza+plan@acme.com",
    "strasse@acme.com",
    "stra\u00dfe@acme.com",
    "STRA\u1e9eE@acme.com",
    "\u0130nci@acme.com",
    "i\u0307nci@acme.com",
    "jos\u00e9@acme.com",
    "jose\u0301@acme.com",
    "JOS\u00c9@b\u00fccher.example",
    "jos\u00e9@xn--bcher-kva.example",
    "x@B\u00dcCHER.example",
    "x@bu\u0308cher.example",
    "x@acme\u3002com",
    "no-at-sign",
    "two@at@acme.com",
    "a\u037eb@acme.com",
    "a;b@acme.com",
    "@acme.com",
    "ana@",
    "ana..b@acme.com",
    ".ana@acme.com",
    "ana.@acme.com",
    'a"b@acme.com',
    "a b@acme.com",
    "a\u200bb@acme.com",
    "a\x07b@acme.com",
    f"{'l' * 65}@acme.com",
    f"ana@{'d' * 60}.{'e' * 60}.{'f' * 60}.{'g' * 60}.com",
    "ana@nodots",
    "ana@acme..com",
    "ana@ac_me.com",
    "support@pigment.com",
]
NAMES = [
    "Ana Souza",
    "ana souza",
    "Ana  Souza ",
    " Ana\tSouza",
    "Jos\u00e9 Stra\u00dfe",
    "Jose\u0301 Strasse",
    "JOS\u00c9 STRASSE",
    "\u0130nci",
    "i\u0307nci",
    "O'Brien-Smith, Jr.",
    "ana.souza@acme.com",
    "Ana.Souza@ACME.com (Ana)",
    "ACTIVE",
    "example",
    "\u674e\u660e",
    "\u041c\u0430\u0440\u0438\u044f",
    "A\u037eB",
    "A;B",
    "a=\u0338b",
    "a\u2260b",
    "\u212aelvin",
    "kelvin",
    "x\u202ey",
    "",
    "  ",
    "\U0001f600 smile",
    "tag\U000e0061\U000e006e\U000e0061",
]
LETTERS = st.sampled_from(
    list("aAbs\u00df\u1e9e\u00e9\u00c9\u0301\u0130i\u0307\u212ak\u2260=\u0338.-' \t\u00a0\u037e;\u03c3\u03c2\u03a3")
)
TEXTS = st.one_of(st.text(LETTERS, max_size=8), st.text(max_size=8))


def replace(emails: list[str], names: list[str], domains: list[str] = [], seed: int = 1) -> Replacements:  # noqa: B006  (read only)
    seen = Collector()
    for email in emails:
        seen.email(email)
    for name in names:
        seen.name(name)
    for domain in domains:
        seen.domain(domain)
    return Replacements(seen, Random(seed))


def check_emails(emails: list[str]) -> None:
    made = replace(emails, [])
    for one, other in combinations(emails, 2):
        a, b = made.email(one), made.email(other)
        assert (a == b) is (one == other)
        assert (normalize(a) == normalize(b)) is (normalize(one) == normalize(other)), (one, other, a, b)
    for email in emails:
        assert is_valid(made.email(email)) is is_valid(email), (email, made.email(email))


def check_names(names: list[str]) -> None:
    made = replace(["ana.souza@acme.com"], names)
    for name in names:
        assert bool(made.name(name).strip()) is bool(name.strip())
    for one, other in combinations(names, 2):
        a, b = made.name(one), made.name(other)
        assert (a == b) is (one == other)
        assert is_same_name(a, b) is is_same_name(one, other), (one, other, a, b)
        assert (normalize_name(a) == normalize_name(b)) is (normalize_name(one) == normalize_name(other)), (one, other)


def test_addresses_are_equal_and_valid_where_their_originals_are() -> None:
    check_emails(HOSTILE)


@given(st.lists(st.builds(lambda a, b: f"{a}@{b}", TEXTS, TEXTS), unique=True, max_size=6))
def test_any_addresses_are_equal_where_their_originals_are(emails: list[str]) -> None:
    check_emails([each.strip() for each in emails])


def test_names_are_equal_where_their_originals_are() -> None:
    check_names(NAMES)


@given(st.lists(TEXTS, unique=True, max_size=6))
def test_any_names_are_equal_where_their_originals_are(names: list[str]) -> None:
    check_names(names)


@given(TEXTS, TEXTS)
def test_a_display_name_stays_given_and_family_name(given_name: str, family_name: str) -> None:
    display = f"{given_name} {family_name}"
    made = replace([], [given_name, family_name, display])
    assert made.name(display) == f"{made.name(given_name)} {made.name(family_name)}"
    assert made.name(display.strip()) == made.name(display).strip()


@given(st.lists(st.from_regex(r"\A[a-z][a-z.+_-]{0,6}[a-z]@(acme|eu\.acme|other)\.com\Z"), unique=True, max_size=12))
def test_addresses_sort_as_their_originals(emails: list[str]) -> None:
    made = replace(emails, [])
    assert sorted(map(made.email, emails)) == [made.email(each) for each in sorted(emails)]


def test_a_configured_domain_allows_the_same_addresses() -> None:
    domains = ["acme.com", normalize_domain("b\u00fccher.example")]
    made = replace(HOSTILE, [], domains)
    allowed = frozenset(map(made.domain, domains))
    assert all(normalize_domain(each) == each for each in allowed)
    for email in HOSTILE:
        if "@" in email and email != "support@pigment.com":
            assert is_allowed(made.email(email), allowed) is is_allowed(email, frozenset(domains)), email


def test_a_login_of_another_directory_encodes_the_replaced_address() -> None:
    login = "ann_acme.com#EXT#@tenant.onmicrosoft.com"
    odd = "#EXT#@acme.com"
    made = replace([login, "ann@acme.com", odd], [])
    assert "#ext#" in made.email(odd)
    local, _, domain = made.email("ann@acme.com").partition("@")
    assert made.email(login).startswith(f"{local}_{domain}#EXT#@")


def test_an_address_in_a_name_is_the_one_of_the_email() -> None:
    made = replace(["ana.souza@acme.com"], ["Ana.Souza@ACME.com (Ana)"])
    shown = made.name("Ana.Souza@ACME.com (Ana)")
    assert shown.split()[0].lower() == made.email("ana.souza@acme.com")


IDS = [
    "00u1a2b3c4d5e6f7g8h9",
    "00u1a2b3c4d5e6f7g8h8",
    "0oa1a2b3c4d5e6f7g8h9",
    "11111111-2222-3333-4444-55555555abcd",
    "11111111-2222-3333-4444-55555555ABCD",
    "11111111-2222-3333-4444-555555550000",
    "1234",
    "987654321987",
    "-5",
    "007",
    "1.5",
    "true",
    "a/b?c",
    "with space",
    "l" * 101,
    "Pigment_app-1",
]


def test_ids_keep_their_format_and_order() -> None:
    seen = Collector()
    for each in IDS:
        seen.id(each)
    made = Replacements(seen, Random(1))
    shown = {each: made.id(each) for each in IDS}
    assert len(set(shown.values())) == len(IDS)
    guids = [each for each in IDS if each.startswith("1111")]
    assert shown[guids[0]].upper() == shown[guids[1]]
    assert shown[guids[2]] < shown[guids[0]]
    assert shown[IDS[1]] < shown[IDS[0]]
    assert shown[IDS[2]].startswith("0oa")
    assert shown["1234"] < shown["987654321987"]
    path = re.compile(r"[A-Za-z0-9_-]{1,100}")
    for original, made_up in shown.items():
        assert bool(path.fullmatch(original)) is bool(path.fullmatch(made_up)), (original, made_up)
        assert original.isdigit() is made_up.isdigit() or original == "007"


@given(st.lists(TEXTS, max_size=8), st.lists(TEXTS, max_size=8), st.integers(0, 3))
def test_no_replacement_holds_an_original(emails: list[str], words: list[str], seed: int) -> None:
    """The replacement of a value, case-folded, holds none of the originals' words of four letters or more."""
    seen = Collector()
    emails = [f"{each}@acme.com" for each in emails]
    for email in emails:
        seen.email(email)
    for word in words:
        seen.name(word)
        seen.id(word)
        seen.cursor(word)
        seen.word(word)
    made = Replacements(seen, Random(seed))
    shown = [made.email(each) for each in emails]
    shown += [
        replaced for each in words for replaced in (made.name(each), made.id(each), made.cursor(each), made.word(each))
    ]
    text = "\n".join(shown).casefold()
    for original in [*emails, *words]:
        for part in re.findall(r"[^\W_]{4,}", original.casefold()):
            # The marks of a sharp s and of accents end a made-up word, and may join it to a short original.
            if part.isascii() or len(part) > 6:
                assert part in {"true", "false", "example", "cursor", "word"} or part not in text


def test_the_same_secret_gives_the_same_replacements_and_another_one_others() -> None:
    assert replace(HOSTILE, NAMES, seed=3).email(HOSTILE[0]) == replace(HOSTILE, NAMES, seed=3).email(HOSTILE[0])
    assert replace(HOSTILE, NAMES, seed=3).email(HOSTILE[0]) != replace(HOSTILE, NAMES, seed=4).email(HOSTILE[0])


def test_invisible_copies_of_letters_are_replaced() -> None:
    tags = "".join(chr(0xE0000 + ord(letter)) for letter in "souza")
    made = replace([f"a{tags}@acme.com"], [f"Ana {tags}"])
    assert not set(tags) & set(made.name(f"Ana {tags}") + made.email(f"a{tags}@acme.com"))


def test_what_was_not_seen_has_no_replacement() -> None:
    with pytest.raises(KeyError):
        replace([], []).email("ana@acme.com")
