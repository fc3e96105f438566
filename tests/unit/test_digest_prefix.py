"""What may be given as an approval: a digest or its beginning, in any of the spellings that people copy."""

from __future__ import annotations

import pytest

from agent.engine.approval import digest_prefix
from agent.errors import UsageError


@pytest.mark.parametrize(
    "text", ["4507743a", "sha256:4507743a", " SHA256:4507743A ", "4507743a" * 8, "sha256:" + "4507743a" * 8]
)
def test_digest_or_its_beginning_is_taken(text: str) -> None:
    assert digest_prefix(text).startswith("sha256:4507743a")


@pytest.mark.parametrize("text", ["", "4507743", "sha256:4507743", "sha1:4507743a", "4507743z", "0" * 65, "4507743a…"])
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="at least the first 8"):
        digest_prefix(text)
