"""Build the bodies of SCIM requests. Pure. A PATCH never has an email: Pigment ignores it there silently."""

from __future__ import annotations

import orjson

from agent.errors import WriteError
from agent.model import Fields, Member
from agent.model.email import is_same_name, normalize
from agent.scim.codec import attribute, full_name, writable_attributes

__all__ = ["PATCH_SCHEMA", "create_payload", "has_display_name", "patch_payload", "replace_payload"]

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
Json = dict[str, object]


def create_payload(email: str, display_name: str, given_name: str, family_name: str) -> Json:
    """Return an active member in the shape of the OneLogin template that Pigment publishes, without `id`."""
    parts = {"givenName": given_name, "familyName": family_name}
    name = {key: value for key, value in parts.items() if value} or {"formatted": display_name}
    return {
        "schemas": [USER_SCHEMA],
        "userName": email,
        "displayName": display_name,
        "name": name,
        "emails": [{"value": email, "primary": True, "type": "work"}],
        "active": True,
    }


def patch_payload(member: Member, *, display_name: str | None, active: bool | None) -> Json:
    """Return a PATCH of `active`, `displayName`, and `name.formatted` where the member has it."""
    values: list[tuple[str, object]] = []
    if active is not None:
        values.append(("active", active))
    if display_name is not None:
        values.append(("displayName", display_name))
        if member.formatted is not None:
            values.append(("name.formatted", display_name))
    operations = [{"op": "replace", "path": path, "value": value} for path, value in values]
    return {"schemas": [PATCH_SCHEMA], "Operations": operations}


def replace_payload(member: Member, wanted: Fields, active: bool) -> Json:
    """Return the member as it was read, with *wanted* replaced. Other attributes stay, since PUT may clear them."""
    resource = _writable_resource(member)
    email = member.email if wanted.email is None else wanted.email
    display_name = member.display_name if wanted.display_name is None else wanted.display_name
    _set_attribute(resource, "userName", email)
    _set_attribute(resource, "displayName", display_name)
    _set_attribute(resource, "name", _updated_name(attribute(resource, "name"), member.display_name, display_name))
    _set_attribute(resource, "emails", _updated_emails(attribute(resource, "emails"), member.email, email))
    _set_attribute(resource, "active", active)
    resource.setdefault("schemas", [USER_SCHEMA])
    return resource


def has_display_name(member: Member) -> bool:
    """Return whether the workspace returns `displayName`: otherwise a PATCH of it can't be verified."""
    return attribute(_writable_resource(member), "displayName") is not None


def _writable_resource(member: Member) -> Json:
    if not member.resource:
        raise AssertionError("a run keeps the resource of each member that it may change")
    try:
        resource = writable_attributes(orjson.loads(member.resource))
        orjson.dumps(resource)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        # The listing decodes the few fields that it needs: a number too large, or deep nesting, shows only here.
        raise WriteError(
            f"The workspace lists {member.email} with an attribute that can't be sent back ({error}).",
            f"Ask Pigment's support about the attributes of the member with the SCIM id {member.scim_id}.",
        ) from error
    return resource


def _set_attribute(resource: Json, name: str, value: object) -> None:
    lower = name.lower()
    for key in [key for key in resource if key.lower() == lower]:
        del resource[key]
    resource[name] = value


def _updated_name(shown: object, old: str, new: str) -> Json:
    name: Json = dict(shown) if isinstance(shown, dict) else {}
    shown_name = full_name(name)
    if shown_name and is_same_name(shown_name, old) and not is_same_name(old, new):
        # The old display name was made of these parts, and some servers return only the parts: set them too.
        given, _, family = new.rpartition(" ")
        _set_attribute(name, "givenName", given or family)
        _set_attribute(name, "familyName", family if given else "")
    if attribute(name, "formatted") is not None or not shown_name:
        _set_attribute(name, "formatted", new)
    return name


def _updated_emails(shown: object, old: str, new: str) -> list[object]:
    """Return the emails with *new* as the work email, replacing *old*, otherwise the first work email."""
    emails = [dict(email) for email in shown if isinstance(email, dict)] if isinstance(shown, list) else []
    work = [email for email in emails if str(attribute(email, "type")).lower() == "work"]
    replaced = [email for email in work or emails if _has_address(email, old)] or work
    if replaced:
        _set_attribute(replaced[0], "value", new)
    else:
        has_primary = any(attribute(email, "primary") is True for email in emails)
        emails.append({"value": new, "primary": not has_primary, "type": "work"})
    return list(emails)


def _has_address(email: Json, address: str) -> bool:
    value = attribute(email, "value")
    return isinstance(value, str) and normalize(value) == normalize(address)
