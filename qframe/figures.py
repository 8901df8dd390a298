"""How figures are written where people read them."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """Write a time span.

    Parameters
    ----------
    seconds : float

    Examples
    --------
    >>> [duration(s) for s in (0, 0.00042, 0.0312, 4.26, 83.0, 7_505.0, 200_000.0)]
    ['0 s', '0.42 ms', '31 ms', '4.3 s', '1 min 23 s', '2 h 5 min', '2 d 7 h']
    """
    if seconds <= 0:
        return "0 s"
    if seconds < 0.00995:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for length, unit, inner, lesser in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // inner} {lesser}"
    return f"{whole // 60} min {whole % 60} s"


def size(count: float) -> str:
    """Write a number of bytes, by powers of 1,000.

    Examples
    --------
    >>> [size(n) for n in (0, 999, 1_000, 78_140_000, 999_960_000)]
    ['0 B', '999 B', '1.0 kB', '78.1 MB', '1.0 GB']
    """
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length * 0.99995:  # what would be written as 1000.0 of the lesser
            return f"{count / length:.1f} {unit}"
    return f"{count:.0f} B"


def counted(count: int, noun: str, several: str | None = None) -> str:
    """Write a number and what it counts.

    Examples
    --------
    >>> counted(1, "batch", "batches"), counted(1_200, "point")
    ('1 batch', '1,200 points')
    """
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def share(part: float, whole: float) -> str:
    """Write a part of a whole in per cent, which are 100 only when it is all of it.

    Examples
    --------
    >>> share(1, 3), share(999_999, 1_000_000), share(5, 5), share(0, 0)
    ('33 %', '99 %', '100 %', '100 %')
    """
    return "100 %" if part >= whole else f"{int(100 * part / whole)} %"


def sparkline(values: Sequence[float]) -> str:
    """Draw values as a line of blocks, the highest as a full one.

    Examples
    --------
    >>> sparkline([0, 1, 2, 4, 8, 7])
    '▁▂▃▅██'
    """
    highest = max(values, default=0.0)
    if highest <= 0:
        return BLOCKS[0] * len(values)
    return "".join(BLOCKS[min(7, int(8 * max(0.0, value) / highest))] for value in values)


def cut(text: str, most: int) -> str:
    """Write so many characters of a text, and show where it was cut.

    Examples
    --------
    >>> cut("short", 5), cut("longer", 5)
    ('short', 'longe…')
    """
    return text if len(text) <= most else f"{text[:most]}…"
