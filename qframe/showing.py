"""An upload's report, to look at: in a notebook as HTML, elsewhere as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from qframe import markup
from qframe.telling import Lines, Table, frame_of, short
from qframe.ways import Sentence


@dataclass(frozen=True, slots=True, repr=False)
class View:
    """What a notebook shows as HTML, and everything else as text.

    Attributes
    ----------
    html : str
    text : str
    """

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text


def show(report: Any) -> View:
    """Show what became of an upload, and what to type next.

    In a notebook the value of a cell displays itself; elsewhere ``print(qframe.show(report))``.
    Whatever the size of the report, what is shown fits a screen or two.

    Parameters
    ----------
    report : DataFrame, UploadJob, UploadError or UploadInterrupted
        What `upload` returned, or the error that it raised. A report that was kept by
        ``to_parquet`` is as good, and lines chosen from one are shown as far as they tell.

    Returns
    -------
    View
        Its ``html`` and ``text`` are strings.

    Raises
    ------
    InputError
        When it is something else.

    Examples
    --------
    >>> import pandas as pd, qframe
    >>> df = pd.DataFrame({"title": ["Alien", "Heat"], "embedding": [[0.1, 0.9], [0.8, 0.2]]})
    >>> report = df.qdrant.upload("classics", ":memory:", vectors="embedding", progress=False)
    >>> print(qframe.show(report))
    ✓ all 2 points applied
    collection classics at ..., in the embedded engine, made by this upload
    ...
    """
    error = report if isinstance(report, BaseException) else None
    lines = Lines(frame_of(report))
    head, place = lines.headline(), lines.place()
    facts = [*_raised(error), *lines.facts()]
    tables = [table for table in lines.tables() if table.rows]
    ways = lines.ways()
    return View(_html(head, place, facts, tables, ways), _text(head, place, facts, tables, ways))


def _raised(error: BaseException | None) -> Iterator[tuple[str, Sentence]]:
    if error is not None:
        first = str(error).partition("\n")[0]
        yield "raised", (short(f"{type(error).__name__}: {first}"),)


def _html(
    head: str,
    place: Sentence,
    facts: Sequence[tuple[str, Sentence]],
    tables: Sequence[Table],
    ways: Sequence[Sentence],
) -> str:
    parts = [
        markup.line(markup.strong(head)),
        markup.line(_marked(place)),
        markup.pairs((label, _marked(sentence)) for label, sentence in facts),
    ]
    for table in tables:
        body = markup.table(
            table.heads,
            ([_marked(cell) for cell in row] for row in table.rows),
            numbers=table.numbers,
        )
        body += markup.line(markup.text(table.more)) if table.more else ""
        if table.folded:
            parts.append(markup.folded(table.title, body))
        else:
            parts += [markup.line(markup.strong(table.title)), body]
    if ways:
        parts.append(markup.line(markup.strong("next")))
        parts += [markup.line(_marked(way)) for way in ways]
    return markup.box("report", *parts)


def _marked(sentence: Sentence) -> str:
    return "".join(
        markup.code(part) if at % 2 else markup.text(part) for at, part in enumerate(sentence)
    )


def _text(
    head: str,
    place: Sentence,
    facts: Sequence[tuple[str, Sentence]],
    tables: Sequence[Table],
    ways: Sequence[Sentence],
) -> str:
    wide = max((len(label) for label, _ in facts), default=0)
    lines = [head, "".join(place)]
    lines += [f"  {label:<{wide}}  {''.join(sentence)}" for label, sentence in facts]
    for table in tables:
        lines.append(table.title)
        cells = [table.heads, *(["".join(cell) for cell in row] for row in table.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += [
            "  "
            + "  ".join(
                f"{cell:>{width}}" if at in table.numbers else f"{cell:<{width}}"
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        lines += [f"  {table.more}"] if table.more else []
    if ways:
        lines.append("next")
        lines += [f"  {''.join(way)}" for way in ways]
    return "\n".join(lines)
