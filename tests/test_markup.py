from __future__ import annotations

from html.parser import HTMLParser

from qframe.markup import bar, box, code, faint, folded, line, pairs, strong, table, text, verbatim

HOSTILE = "</code><script>alert('x')</script> & \"quoted\""


class Reader(HTMLParser):
    """Reads markup as a browser would, and notes what stands open."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_text_stays_text() -> None:
    """Whatever a server or a payload says, it becomes no element and is read as it was."""
    markup = box(
        "test",
        line(strong(HOSTILE), text(HOSTILE), faint(HOSTILE)),
        pairs([(HOSTILE, code(HOSTILE))]),
        table([HOSTILE, "n"], [[text(HOSTILE), "1"]], numbers=[1]),
        folded(HOSTILE, text(HOSTILE)),
        bar(1, 2, HOSTILE),
        verbatim(HOSTILE),
    )
    reader = Reader(markup)
    assert reader.open == ["progress"] or not reader.open
    assert "script" not in reader.tags
    assert "".join(reader.words).count(HOSTILE) == 10


def test_nothing_is_loaded() -> None:
    """No element names another address, a style sheet or a script."""
    markup = box("test", bar(1, None, "x"), table(["a"], [["b"]]), folded("c", pairs([("d", "e")])))
    for loader in ("src=", "href=", "url(", "<style", "<link", "<script", "<svg"):
        assert loader not in markup


def test_a_bar_has_an_end_where_there_is_one() -> None:
    """A known total gives a value, an unknown one a bar that runs; nothing to send is done."""
    assert 'max="8" value="3"' in bar(3, 8, "x")
    assert "value=" not in bar(3, None, "x")
    assert 'max="1" value="1"' in bar(0, 0, "x")


def test_lines_stay_apart() -> None:
    """Text of several lines keeps them, and what they are indented by."""
    markup = verbatim("one\n  two")
    assert "one\n  two" in markup
    assert "white-space: pre-wrap" in markup
