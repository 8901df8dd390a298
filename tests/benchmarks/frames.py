"""The frames that are uploaded: a column of float32 arrays, and payload of 4 or 12 columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

COLUMNS = (4, 12)

GENRES = ["drama", "comedy", "horror"]
LANGUAGES = ["de", "en", "es", "fr", "hi", "ja", "ko", "pt", "sv", "zh"]


def make_frame(rows: int, size: int, columns: int = 4) -> pd.DataFrame:
    """Make a frame of films, the same for the same arguments.

    Parameters
    ----------
    rows : int
    size : int
        Numbers of a vector.
    columns : {4, 12}
        Of payload. Four: a text, an integer, a float, a category. Twelve: two texts more (one of a
        sentence or two, one of 2,000 names), two integers, a float, a category, a boolean and a
        time with its zone.

    Returns
    -------
    DataFrame
        Nothing in it is missing: each client has its own opinion of NaN.
    """
    if columns not in COLUMNS:
        raise ValueError(f"columns={columns}: one of {COLUMNS}")
    random = np.random.default_rng(0)
    matrix = random.random((rows, size), dtype=np.float32)
    frame = pd.DataFrame(
        {
            "embedding": list(matrix),
            "title": [f"title of the row {row}" for row in range(rows)],
            "year": random.integers(1900, 2025, rows),
            "rating": random.random(rows),
            "genre": _category(random, GENRES, rows),
        }
    )
    if columns == 4:
        return frame
    words = random.integers(8, 30, rows).tolist()
    directors = random.integers(0, 2000, rows).tolist()
    seconds = np.sort(random.integers(1_500_000_000, 1_750_000_000, rows))
    return frame.assign(
        summary=["a film about some people and what became of them. "[: 2 * n] * 4 for n in words],
        director=[f"director number {number}" for number in directors],
        minutes=random.integers(60, 240, rows),
        votes=random.integers(0, 2_000_000, rows),
        price=np.round(random.random(rows) * 40, 2),
        language=_category(random, LANGUAGES, rows),
        restored=random.random(rows) < 0.2,
        added=pd.to_datetime(seconds, unit="s", utc=True),
    )


def _category(random: np.random.Generator, names: list[str], rows: int) -> pd.Categorical:
    return pd.Categorical.from_codes(random.integers(0, len(names), rows), names)
