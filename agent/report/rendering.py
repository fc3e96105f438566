"""The five renderings of a plan document, or of a run that applied one, behind one function.

All start from the document, never from a plan, so that a saved plan and a run of the journal look as they did.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from agent.report.document import encode, written
from agent.report.markdown import markdown
from agent.report.page import page
from agent.report.shape import Document, Outcomes
from agent.report.sheet import sheet
from agent.report.text import text

__all__ = ["NO_OUTCOMES", "Format", "Look", "render"]


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Look:
    """How a rendering may look.

    *width* (cells), *colour* and *verbose* are of text, *bom* is of CSV, *most* (characters) of Markdown. *approves*:
    the command is shown by which `sync` approves what is held; an undo is not approved by that.
    """

    width: int = 100
    colour: bool = False
    verbose: bool = False
    bom: bool = False
    most: int = 60_000
    approves: bool = True


NO_OUTCOMES: Outcomes = MappingProxyType({})


def render(document: Document, form: Format, look: Look = Look(), outcomes: Outcomes = NO_OUTCOMES) -> str:
    """Return *document* in *form*, ending in a newline; with *outcomes*, as a run that applied it.

    Write it as UTF-8 and translate no line ends.
    """
    match form:
        case Format.TEXT:
            return text(
                document, outcomes, width=look.width, colour=look.colour, verbose=look.verbose, approves=look.approves
            )
        case Format.JSON:
            return _json(document, outcomes)
        case Format.MARKDOWN:
            return markdown(document, outcomes, most=look.most, approves=look.approves)
        case Format.HTML:
            return page(document, outcomes, approves=look.approves)
        case Format.CSV:
            return sheet(document, outcomes, bom=look.bom)
        case _:
            assert_never(form)


def _json(document: Document, outcomes: Outcomes) -> str:
    """Return the document; what became of its changes stands beside the workspaces, outside all digests."""
    if not outcomes:
        return encode(document).decode()
    told = {name: [asdict(line) for line in lines] for name, lines in outcomes.items()}
    return written({**document, "outcomes": told}).decode()
