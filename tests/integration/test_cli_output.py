"""Results are written completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.output import format_link_edits, print_json, write_file
from agent.errors import UsageError
from agent.model import Link
from agent.model.run import LinkEdit
from connectors.base import PersonKey


def test_file_is_replaced_and_no_other_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("previous")
    write_file(path, [b"no", b"w"])

    assert path.read_bytes() == b"now"
    assert [each.name for each in tmp_path.iterdir()] == ["plan.json"]


def test_path_that_cannot_be_written_is_a_usage_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "nowhere" / "plan.json", tmp_path / "folder"):
        with pytest.raises(UsageError, match="can't be written") as caught:
            write_file(path, [b"no", b"w"])
        assert caught.value.hint
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_file_whose_content_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"begun"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_file(tmp_path / "plan.json", parts())
    assert list(tmp_path.iterdir()) == []


def test_json_holds_any_name_and_is_harmless_on_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[31mb\x9b2J\u202ec\x00\x7f"
    print_json([{"z": (name, "half \ud83d"), "a": name}])
    text = capfd.readouterr().out

    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == [{"z": [name, "half \\ud83d"], "a": name}]
    assert text.index('"z"') < text.index('"a"'), "in their order"


def test_link_edits_are_shown_by_email_where_it_is_known() -> None:
    old, new = Link(PersonKey("okta-main", "00u1"), "7f70"), Link(PersonKey("entra-eu", "ab"), "7f70")
    edits = [LinkEdit(new, old), LinkEdit(None, Link(PersonKey("entra-eu", "ab"), "8e81"))]

    assert format_link_edits(edits, {"7f70": "ann@acme.com"}) == (
        "  Linked ann@acme.com to entra-eu:ab, previously okta-main:00u1\n  Unlinked member 8e81 from entra-eu:ab\n"
    )
    assert format_link_edits([LinkEdit(new, None)], is_done=False) == "  Link member 7f70 to entra-eu:ab\n"
