"""`df.qdrant`: each method is one call of the function of the same name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pandas as pd

from qframe import failed_rows as _failed_rows
from qframe import uploading as _uploading
from qframe import verification as _verification
from qframe.connection import Con
from qframe.pool import TIME_LIMIT, Kind
from qframe.progress import Progress
from qframe.retry import Retry
from qframe.sending import Order
from qframe.write import ShardKey


@pd.api.extensions.register_dataframe_accessor("qdrant")
class QdrantAccessor:
    """A frame's way into Qdrant.

    Parameters
    ----------
    frame : DataFrame
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        # Nothing is checked here: pandas makes accessors for `dir(df)` too, of any frame.
        self._frame = frame

    def upload(
        self,
        collection: str,
        con: Con = None,
        *,
        vectors: Any,
        ids: Any = None,
        payload: Any = None,
        if_exists: Literal["append", "fail", "replace"] = "append",
        distance: str | Mapping[str, str] = "cosine",
        collection_config: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        max_batch_bytes: int | None = None,
        workers: int | None = None,
        worker_kind: Kind = "thread",
        order: Order = "unordered",
        batch_timeout: float | None = TIME_LIMIT,
        wait: bool = False,
        barrier: bool = True,
        ordering: str | None = None,
        shard_key: ShardKey | None = None,
        update_mode: str | None = None,
        update_filter: Mapping[str, Any] | None = None,
        retry: Retry | int | None = None,
        on_error: Literal["raise", "collect"] = "raise",
        bad_rows: Literal["raise", "skip"] = "raise",
        missing: Literal["null", "drop"] = "null",
        journal: str | os.PathLike[str] | None = None,
        resume: pd.DataFrame | None = None,
        progress: Progress = "auto",
    ) -> pd.DataFrame:
        return _uploading.upload(
            self._frame,
            collection,
            con,
            vectors=vectors,
            ids=ids,
            payload=payload,
            if_exists=if_exists,
            distance=distance,
            collection_config=collection_config,
            batch_size=batch_size,
            max_batch_bytes=max_batch_bytes,
            workers=workers,
            worker_kind=worker_kind,
            order=order,
            batch_timeout=batch_timeout,
            wait=wait,
            barrier=barrier,
            ordering=ordering,
            shard_key=shard_key,
            update_mode=update_mode,
            update_filter=update_filter,
            retry=retry,
            on_error=on_error,
            bad_rows=bad_rows,
            missing=missing,
            journal=journal,
            resume=resume,
            progress=progress,
        )

    upload.__doc__ = _uploading.upload.__doc__

    def verify(
        self,
        collection: str,
        con: Con = None,
        *,
        vectors: Any,
        ids: Any = None,
        payload: Any = None,
        missing: Literal["null", "drop"] = "null",
        bad_rows: Literal["raise", "skip"] = "raise",
        sample: float | None = None,
        seed: int = 0,
        extra: bool = False,
        workers: int = 4,
        retry: Retry | int | None = None,
    ) -> pd.DataFrame:
        return _verification.verify(
            self._frame,
            collection,
            con,
            vectors=vectors,
            ids=ids,
            payload=payload,
            missing=missing,
            bad_rows=bad_rows,
            sample=sample,
            seed=seed,
            extra=extra,
            workers=workers,
            retry=retry,
        )

    verify.__doc__ = _verification.verify.__doc__

    def failed(
        self, report: pd.DataFrame, *, status: str | Iterable[str] = ("failed", "skipped")
    ) -> pd.DataFrame:
        return _failed_rows.failed(self._frame, report, status=status)

    failed.__doc__ = _failed_rows.failed.__doc__
