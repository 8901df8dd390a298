"""Frames to upload, and the points that they must become."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pandas as pd

import qframe
from qframe.mapping.ids import Uuid5

Point = tuple[list[float], dict[str, Any]]
"""Vector and payload."""

NAMESPACE = uuid.UUID("8f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f0")


@dataclass(frozen=True)
class Data:
    """A frame, how to upload it, and what it must become.

    Attributes
    ----------
    frame : DataFrame
    arguments : dict
        Of `qframe.upload`: vectors, ids and what belongs to them.
    ids : list of int or str
        One a row, as the server tells it; None for a row that cannot become a point.
    points : dict
        Vector and payload by id.
    """

    frame: pd.DataFrame
    arguments: dict[str, Any]
    ids: list[int | str | None]
    points: dict[int | str, Point] = field(repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    def head(self, rows: int) -> Data:
        """Return the first rows of it."""
        arguments = dict(self.arguments)
        for name in ("vectors", "ids"):
            if isinstance(arguments[name], np.ndarray):
                arguments[name] = arguments[name][:rows]
        ids = self.ids[:rows]
        points = {point: self.points[point] for point in ids if point is not None}
        return Data(self.frame.iloc[:rows], arguments, ids, points)

    def upload(self, collection: str, con: Any, **options: Any) -> pd.DataFrame:
        """Upload it; options go before those that belong to the frame."""
        defaults: dict[str, Any] = {"progress": False, "distance": "dot"}
        arguments = defaults | self.arguments | options
        return qframe.upload(self.frame, collection, con, **arguments)


def plain(rows: int, size: int = 8) -> Data:
    """Return rows with ids from 0, vectors that tell their row, and a little payload."""
    vectors = np.arange(rows * size, dtype=np.float32).reshape(rows, size) / 7
    frame = pd.DataFrame({"key": range(rows), "text": [f"row {row}" for row in range(rows)]})
    points = {row: (vectors[row].tolist(), {"text": f"row {row}"}) for row in range(rows)}
    return Data(frame, {"vectors": vectors, "ids": "key"}, list(range(rows)), points)


def drawn(random: Random, rows: int) -> Data:
    """Return rows of a random shape: size, ids, kinds of payload, and perhaps bad rows."""
    size = random.choice([1, 2, 3, 8, 17, 40])
    vectors = np.random.default_rng(random.getrandbits(32)).standard_normal((rows, size))
    matrix = vectors.astype(np.float32)
    ids, column, argument = _ids(random, rows)
    payload = _payload(random, rows)
    frame = pd.DataFrame({**column, **payload}, index=_index(random, rows))
    bad = set()
    if random.random() < 0.4 and rows > 1:
        # Never all of them: a frame without a point is refused as a whole.
        bad = set(random.sample(range(rows), random.randint(1, max(1, min(rows - 1, rows // 5)))))
    cells = [list(map(float, row)) for row in matrix]
    for row in bad:
        cells[row] = random.choice(
            [[*cells[row], 1.0], [float("nan")] * size, [float("inf")] * size]
        )
    arguments: dict[str, Any] = {"ids": argument, "bad_rows": "skip", "payload": [*payload]}
    if bad or random.random() < 0.5:
        frame["embedding"] = pd.Series(cells, index=frame.index)
        arguments["vectors"] = "embedding"
    else:
        arguments["vectors"] = matrix
    if isinstance(argument, Uuid5):  # its columns stay in the payload
        payload |= column
    points = {
        ids[row]: (matrix[row].tolist(), {name: payload[name][row] for name in payload})
        for row in range(rows)
        if row not in bad
    }
    return Data(frame, arguments, [None if row in bad else ids[row] for row in range(rows)], points)


def _ids(random: Random, rows: int) -> tuple[list[Any], dict[str, Any], Any]:
    """Return ids as the server tells them, the columns they are made of, and the argument."""
    kind = random.choice(["numbers", "large", "uuids", "uuid5", "array"])
    match kind:
        case "numbers":
            numbers = random.sample(range(10 * rows + 10), rows)
            return numbers, {"key": numbers}, "key"
        case "large":
            numbers = random.sample(range(2**64 - 5 * rows, 2**64), rows)
            return numbers, {"key": np.array(numbers, dtype=np.uint64)}, "key"
        case "array":
            numbers = list(range(7, 7 + rows))
            return numbers, {}, np.array(numbers)
        case "uuids":
            texts = [str(uuid.UUID(int=random.getrandbits(128), version=4)) for _ in range(rows)]
            return texts, {"key": texts}, "key"
    keys = [f"sku-{row}-{random.getrandbits(16)}" for row in range(rows)]
    made = qframe.uuid5("key", namespace=NAMESPACE)
    return [str(uuid.uuid5(NAMESPACE, json.dumps([key]))) for key in keys], {"key": keys}, made


def _payload(random: Random, rows: int) -> dict[str, list[Any]]:
    """Return the cells of some columns; all of a kind that JSON gives back as it is."""
    kinds: dict[str, Any] = {
        "number": lambda row: random.randint(-(2**53), 2**53),
        # Quarters: the engine's reading of JSON may change the last digit of longer fractions.
        "price": lambda row: random.randint(-4000, 4000) / 4,
        "text": lambda row: "".join(random.choices('aäß∑\n"\\ 🐛', k=random.randint(0, 12))),
        "flag": lambda row: random.random() < 0.5,
        "tags": lambda row: [random.choice("xyz") for _ in range(random.randint(0, 4))],
        "more": lambda row: {"a": [1, {"b": None}], "row": row},
        "gap": lambda row: None if row % 3 else f"row {row}",
    }
    names = random.sample(sorted(kinds), random.randint(0, 4))
    return {name: [kinds[name](row) for row in range(rows)] for name in names}


def _index(random: Random, rows: int) -> pd.Index[Any]:
    if random.random() < 0.5:
        return pd.RangeIndex(rows)
    return pd.Index([f"label {row}" for row in range(rows)], name="label")
