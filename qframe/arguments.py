"""Checking arguments that stand by themselves."""

from __future__ import annotations

import operator

from qframe.errors import InputError


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise InputError unless an argument is one of its values."""
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name}={value!r}: one of {', '.join(map(repr, allowed))}")


def whole_number(name: str, value: object, *, least: int) -> int:
    """Return an argument as an int; numpy's integers are welcome, booleans are not.

    Raises
    ------
    InputError
        For anything else, and for less than `least`.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise InputError(f"{name}={value!r}: a whole number, {least} or more")
    return number
