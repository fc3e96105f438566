"""The five renderings of a plan document, or of a run that applied one, behind one function.

All start from the document, never from a plan, so that a saved plan and a run of the journal look as they did.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from agent.report.csv import render_csv
from agent.report.document import encode_document, to_json_bytes
from agent.report.html import render_html
from agent.report.markdown import render_markdown
from agent.report.schema import Document, Outcomes
from agent.report.text import render_text

__all__ = ["NO_OUTCOMES", "Format", "RenderOptions", "render"]


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How a rendering may look.

    *width* (cells), *colour* and *verbose* are of text, *bom* is of CSV, *max_chars* (characters) of Markdown.
    *shows_approval*: the command is shown by which `sync` approves what is held; an undo is not approved by that.
    """

    width: int = 100
    colour: bool = False
    verbose: bool = False
    bom: bool = False
    max_chars: int = 60_000
    shows_approval: bool = True


NO_OUTCOMES: Outcomes = MappingProxyType({})


def render(
    document: Document, form: Format, look: RenderOptions = RenderOptions(), outcomes: Outcomes = NO_OUTCOMES
) -> str:
    """Return *document* in *form*, ending in a newline; with *outcomes*, as a run that applied it.

    Write it as UTF-8 and translate no line ends.
    """
    match form:
        case Format.TEXT:
            return render_text(
                document,
                outcomes,
                width=look.width,
                colour=look.colour,
                verbose=look.verbose,
                shows_approval=look.shows_approval,
            )
        case Format.JSON:
            return _render_json(document, outcomes)
        case Format.MARKDOWN:
            return render_markdown(document, outcomes, max_chars=look.max_chars, shows_approval=look.shows_approval)
        case Format.HTML:
            return render_html(document, outcomes, shows_approval=look.shows_approval)
        case Format.CSV:
            return render_csv(document, outcomes, bom=look.bom)
        case _:
            assert_never(form)


def _render_json(document: Document, outcomes: Outcomes) -> str:
    """Return the document; what became of its changes stands beside the workspaces, outside all digests."""
    if not outcomes:
        return encode_document(document).decode()
    told = {name: [asdict(line) for line in lines] for name, lines in outcomes.items()}
    return to_json_bytes({**document, "outcomes": told}).decode()
