"""The five renderings of a plan document, or of a run that applied one, behind one function.

All start from the document, never from a plan, so a saved plan and a past run look as they did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from agent.report.document import document_parts
from agent.report.schema import Document, Outcomes

__all__ = ["NO_OUTCOMES", "Format", "RenderOptions", "json_parts", "render"]


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Options of a rendering.

    *width* (cells), *colour* and *verbose* are of text, *bom* is of CSV, *max_chars* (characters) of Markdown.
    *shows_approval*: show the `sync` command that approves what is on hold; an undo is approved otherwise.
    *shows_digest*: text shows the digest of the whole plan too.
    """

    width: int = 100
    colour: bool = False
    verbose: bool = False
    bom: bool = False
    max_chars: int = 60_000
    shows_approval: bool = True
    shows_digest: bool = False


NO_OUTCOMES: Outcomes = MappingProxyType({})


def render(
    document: Document,
    output_format: Format,
    options: RenderOptions = RenderOptions(),
    outcomes: Outcomes = NO_OUTCOMES,
) -> str:
    """Return *document* in *output_format*, ending in a newline; with *outcomes*, as a run that applied it.

    Write it as UTF-8 and translate no line ends.
    """
    match output_format:
        case Format.TEXT:
            # Rich is a twentieth of the start of a command, which may end before it has a report.
            from agent.report.text import render_text

            return render_text(
                document,
                outcomes,
                width=options.width,
                colour=options.colour,
                verbose=options.verbose,
                shows_approval=options.shows_approval,
                shows_digest=options.shows_digest,
            )
        case Format.JSON:
            return b"".join(json_parts(document, outcomes)).decode()
        case Format.MARKDOWN:
            from agent.report.markdown import render_markdown

            return render_markdown(
                document, outcomes, max_chars=options.max_chars, shows_approval=options.shows_approval
            )
        case Format.HTML:
            # Templates alone are a thirtieth of the start of a command that prints text.
            from agent.report.html import render_html

            return render_html(document, outcomes, shows_approval=options.shows_approval)
        case Format.CSV:
            from agent.report.csv import render_csv

            return render_csv(document, outcomes, bom=options.bom)
        case _:
            assert_never(output_format)


def json_parts(document: Document, outcomes: Outcomes = NO_OUTCOMES) -> Iterator[bytes]:
    """Yield the document part by part, as UTF-8.

    The outcomes of its changes are added next to the workspaces, outside all digests.
    """
    outcome_rows = {name: [asdict(line) for line in lines] for name, lines in outcomes.items()}
    return document_parts(document, {"outcomes": outcome_rows} if outcomes else {})
