"""Why a form that releases changes is shown again instead of done: it must do what its button showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.web.approval_form import ApprovalForm, wrong_number

__all__ = ["button_refusal", "form_refusal", "refusal_status"]

TICKS_CHANGED = (
    "The ticks have changed, so the numbers have too. Nothing was approved yet. Check the button, then send it."
)
BUTTON_CHANGED = (
    "Another person approved meanwhile, so the button does something else now. Nothing was approved yet. Check the "
    "button, then send it."
)
FORM_CHANGED = {TICKS_CHANGED, BUTTON_CHANGED}


def refusal_status(refusal: str) -> int:
    """Return the status of a page with *refusal*, empty for none."""
    # Other ticks or another approval are no mistake: the form comes back once with their numbers.
    return 422 if refusal and refusal not in FORM_CHANGED else 200


def form_refusal(form: ApprovalForm, fields: Mapping[str, str], ticked: Sequence[str]) -> str:
    """Return why the form must be sent again; empty if what it asks for is what its button showed."""
    if not ticked:
        return "No guard is ticked. Nothing was approved. Tick what you approve."
    if set(ticked) - {box.code for box in form.boxes}:
        # `approve` explains it.
        return ""
    if form.shown_guards != fields.get("shown", ""):
        return TICKS_CHANGED
    return button_refusal(form, fields)


def button_refusal(form: ApprovalForm, fields: Mapping[str, str]) -> str:
    """Return why the button that was pressed does not do what it showed; also why its number is not confirmed."""
    if fields.get("button", form.button) != form.button:
        return BUTTON_CHANGED
    typed = fields.get("confirm", "").strip().replace(",", "")
    if form.confirm and typed != str(form.deactivations):
        return wrong_number(form)
    return ""
