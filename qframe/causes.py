"""Errors by cause: those that say the same of other rows are one."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

OTHER = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"  # a UUID
    r"|0x[0-9a-f]+"
    r"|\b(?=[a-f]*\d)[0-9a-f]{8,}\b"  # a digest, an address, a UUID without hyphens
    r"|[-+]?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?",
    re.IGNORECASE,
)
"""What differs between two errors of one cause."""

READ = 500
"""Characters of an error that say what its cause is; a body that is quoted may follow."""

KEPT = 100
"""Causes that are told apart; an error that never says the same twice must not fill the memory."""


def cause(error_type: str, text: str) -> str:
    """Return what errors of one cause have in common.

    Parameters
    ----------
    error_type : str
        Name of the error's class.
    text : str

    Examples
    --------
    >>> cause("InvalidRequest", "id 17 has a vector of 3 numbers, expected 1,536")
    'InvalidRequest: id # has a vector of # numbers, expected #'
    """
    return f"{error_type}: {OTHER.sub('#', text[:READ])}"


@dataclass(frozen=True, slots=True)
class Cause:
    """What errors of one cause amount to.

    Attributes
    ----------
    key : str
        What they have in common.
    example : str
        The first of them, with its type.
    count, points : int
        Batches, or parts of one, and their points.
    """

    key: str
    example: str
    count: int
    points: int


class Causes:
    """Counts errors by cause, in bounded memory."""

    def __init__(self) -> None:
        self._found: dict[str, Cause] = {}
        self.count = 0
        self.untold = 0
        """Errors that no cause was kept for, as there were too many."""

    def add(self, error: tuple[str, str] | BaseException, points: int = 0, count: int = 1) -> str:
        """Count an error, and return what its cause has in common.

        Parameters
        ----------
        error : exception, or (str, str)
            Itself, or the name of its class and its text.
        points : int
            That it concerns.
        count : int
            How often it came.
        """
        name, text = error if isinstance(error, tuple) else (type(error).__name__, str(error))
        self.count += count
        key = cause(name, text)
        known = self._found.get(key)
        if known is not None:
            self._found[key] = replace(
                known, count=known.count + count, points=known.points + points
            )
        elif len(self._found) < KEPT:
            self._found[key] = Cause(key, f"{name}: {text}", count, points)
        else:
            self.untold += count
        return key

    def __len__(self) -> int:
        return len(self._found)

    def top(self, count: int) -> list[Cause]:
        """Return the causes of most errors; of two that are equal, the one that came first."""
        return sorted(self._found.values(), key=lambda found: -found.count)[:count]
