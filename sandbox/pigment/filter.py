"""Read the one kind of filter that a workspace understands: an attribute that equals a text."""

from __future__ import annotations

import json
import re

from sandbox.pigment.refusal import Refusal

__all__ = ["wanted_email"]

# Attribute and operator in any case (RFC 7644, 3.4.2.2); the value is a JSON string, escapes and all.
EQUALS = re.compile(
    r'\s*(?P<attribute>[^"]*?(?:\[[^\]]*\]\.?\w*)?)\s+eq\s+(?P<value>"(?:[^"\\]|\\.)*")\s*', re.IGNORECASE
)
WORK_EMAIL = re.compile(r'emails\[\s*type\s+eq\s+"work"\s*\]\.value', re.IGNORECASE)
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:user:"


def wanted_email(expression: str, *, emails: bool) -> str:
    """Return the address that *expression* asks for; *emails*: the `emails` attribute is understood too.

    Raise `Refusal` (400 `invalidFilter`) for anything else.
    """
    parts = EQUALS.fullmatch(expression)
    if parts is None or not _is_known(parts["attribute"], emails):
        raise Refusal(400, 'The filter is not supported. Supported: userName eq "value".', "invalidFilter")
    try:
        value = json.loads(parts["value"])
    except ValueError:
        raise Refusal(400, "The filter's value is not a JSON string.", "invalidFilter") from None
    return str(value)


def _is_known(attribute: str, emails: bool) -> bool:
    name = attribute.casefold().removeprefix(SCHEMA)
    return name == "username" or (emails and (name == "emails.value" or WORK_EMAIL.fullmatch(name) is not None))
