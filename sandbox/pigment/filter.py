"""Parse the one kind of filter that a workspace supports: an attribute that equals a string."""

from __future__ import annotations

import json
import re

from sandbox.pigment.errors import ScimError

__all__ = ["email_from_filter"]

# Attribute and operator in any case (RFC 7644, 3.4.2.2); the value is a JSON string, escapes and all.
EQUALS_FILTER = re.compile(
    r'\s*(?P<attribute>[^"]*?(?:\[[^\]]*\]\.?\w*)?)\s+eq\s+(?P<value>"(?:[^"\\]|\\.)*")\s*', re.IGNORECASE
)
WORK_EMAIL = re.compile(r'emails\[\s*type\s+eq\s+"work"\s*\]\.value', re.IGNORECASE)
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:user:"


def email_from_filter(expression: str, *, emails: bool) -> str:
    """Return the address that *expression* asks for; *emails*: the `emails` attribute is supported too.

    Raise `ScimError` (400 `invalidFilter`) for anything else.
    """
    parts = EQUALS_FILTER.fullmatch(expression)
    if parts is None or not _is_supported(parts["attribute"], emails):
        raise ScimError(400, 'The filter is not supported. Supported: userName eq "value".', "invalidFilter")
    try:
        value = json.loads(parts["value"])
    except ValueError:
        raise ScimError(400, "The filter's value is not a JSON string.", "invalidFilter") from None
    return str(value)


def _is_supported(attribute: str, emails: bool) -> bool:
    name = attribute.casefold().removeprefix(SCHEMA)
    return name == "username" or (emails and (name == "emails.value" or WORK_EMAIL.fullmatch(name) is not None))
