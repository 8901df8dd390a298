"""HTML that is readable everywhere: in light and dark, in narrow and wide, saved, and untrusted.

Notebooks that open a file of somebody else's leave out style sheets, scripts, drawings and classes
of their own, and keep plain elements with simple inline styles. So there is nothing else here:
colours are inherited, so that any theme will do, and nothing is loaded from anywhere.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

LEFT = "text-align: left; vertical-align: top; white-space: normal"
RIGHT = "text-align: right; vertical-align: top; white-space: nowrap"
LABEL = f"{LEFT}; font-weight: normal; opacity: 0.75; white-space: nowrap"
TABLE = "border-collapse: collapse; margin: 0.2em 0; font-size: 100%; width: auto; border: none"
PAD = "; padding: 0.1em 0.9em 0.1em 0; background: transparent; border: none; line-height: 1.5"
ROW = '<tr style="background: transparent">'


def text(value: object) -> str:
    """Return text as markup that shows it.

    Examples
    --------
    >>> text('<b>"1" & 2</b>')
    '&lt;b&gt;&quot;1&quot; &amp; 2&lt;/b&gt;'
    """
    return html.escape(str(value))


def code(value: object) -> str:
    """Return markup of what can be typed, which is selected as it is."""
    return f"<code>{text(value)}</code>"


def strong(value: object) -> str:
    """Return markup of what is read first."""
    return f"<strong>{text(value)}</strong>"


def faint(value: object) -> str:
    """Return markup of what is read last."""
    return f'<span style="opacity: 0.6">{text(value)}</span>'


def line(*parts: str) -> str:
    """Return one line of markup; what does not fit goes below."""
    return f'<div style="margin: 0.2em 0">{" ".join(parts)}</div>'


def verbatim(value: object) -> str:
    """Return markup of text of several lines, whose lines stay apart; long ones are broken.

    Examples
    --------
    >>> verbatim("1 < 2")
    '<div style="white-space: pre-wrap; overflow-wrap: break-word; margin: 0.2em 0">1 &lt; 2</div>'
    """
    style = "white-space: pre-wrap; overflow-wrap: break-word; margin: 0.2em 0"
    return f'<div style="{style}">{text(value)}</div>'


def bar(done: int, total: int | None, label: str) -> str:
    """Return a bar, which runs without an end where the total is not known.

    Parameters
    ----------
    done : int
    total : int or None
    label : str
        What it is of, for whoever hears the page.
    """
    value = "" if total is None else f' value="{min(done, total) if total else 1}"'
    return (
        f'<progress max="{max(1, total or 1)}"{value} style="width: 100%; max-width: 40em" '
        f'aria-label="{text(label)}"></progress>'
    )


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return two columns: what a figure is, and the figure as markup.

    Parameters
    ----------
    rows : iterable of (str, str)
        Text, and markup.
    """
    body = "".join(
        f'{ROW}<th scope="row" style="{LABEL}{PAD}">{text(label)}</th>'
        f'<td style="{LEFT}{PAD}">{figure}</td></tr>'
        for label, figure in rows
    )
    return _scrolling(f"<tbody>{body}</tbody>")


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()
) -> str:
    """Return a table with heads.

    Parameters
    ----------
    heads : sequence of str
        Text.
    rows : iterable of sequences of str
        Markup, a cell a head.
    numbers : iterable of int
        Which columns hold numbers.
    """
    right = set(numbers)
    styles = [(RIGHT if at in right else LEFT) + PAD for at in range(len(heads))]
    head = "".join(
        f'<th scope="col" style="{style}; font-weight: normal; opacity: 0.75">{text(name)}</th>'
        for name, style in zip(heads, styles, strict=True)
    )
    body = "".join(
        ROW
        + "".join(
            f'<td style="{style}">{cell}</td>' for cell, style in zip(row, styles, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return _scrolling(f"<thead>{ROW}{head}</tr></thead><tbody>{body}</tbody>")


def _scrolling(rows: str) -> str:
    """Return a table that scrolls in a place of its own where a word of it is too wide."""
    return f'<div style="overflow-x: auto"><table style="{TABLE}">{rows}</table></div>'


def folded(summary: str, body: str) -> str:
    """Return markup that a click unfolds; `summary` is text."""
    return f"<details><summary>{text(summary)}</summary>{body}</details>"


def box(kind: str, *parts: str) -> str:
    """Return the whole of one output; `kind` is its class, by which tests find it."""
    return (
        f'<div class="qframe qframe-{kind}" style="max-width: 60em; line-height: 1.5; '
        f'overflow-wrap: break-word">{"".join(parts)}</div>'
    )
