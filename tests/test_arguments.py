"""Arguments that stand by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qframe.arguments import check_choice, whole_number
from qframe.errors import InputError


@pytest.mark.parametrize("value", [1, 5, np.int64(5), np.uint8(1)])
def test_whole_numbers(value: Any) -> None:
    """Python's and numpy's integers become int."""
    number = whole_number("batch_size", value, least=1)
    assert type(number) is int
    assert number == value


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, np.float64(2), np.True_])
def test_what_is_no_whole_number(value: Any) -> None:
    """Anything else is refused, with its name and what would be right."""
    with pytest.raises(InputError, match=r"^batch_size=.*: a whole number, 1 or more$"):
        whole_number("batch_size", value, least=1)


@pytest.mark.parametrize("value", ["c", None, ["a"], 1])
def test_choices(value: Any) -> None:
    """A value that is none of the possible ones is refused, unhashable ones too."""
    check_choice("order", "a", ("a", "b"))
    with pytest.raises(InputError, match=r"order=.*: one of 'a', 'b'"):
        check_choice("order", value, ("a", "b"))
