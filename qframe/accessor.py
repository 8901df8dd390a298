"""`df.qdrant`: each method is one call of the function of the same name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

import pandas as pd

from qframe.names import load

if TYPE_CHECKING:
    import os

    from qframe.connection import Con
    from qframe.job import UploadJob
    from qframe.pool import Kind
    from qframe.progress import Progress
    from qframe.retry import Retry
    from qframe.sending import Order
    from qframe.write import ShardKey

F = TypeVar("F", bound=Callable[..., Any])


class _Documented:
    """A method that takes the docstring of the function of its name when it is first looked at.

    So that `import qframe` need not load that function.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        # `__wrapped__`, which this sets too, leads to the types that the annotations name.
        functools.update_wrapper(self._method, load(self._name), assigned=["__doc__"])
        setattr(self._owner, self._name, self._method)  # the plain method from now on
        return self._method.__get__(instance, owner)


def _documented(method: F) -> F:
    return cast(F, _Documented(method))


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

    @overload
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
        batch_timeout: float | None = 600,
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
        block: Literal[True] = True,
    ) -> pd.DataFrame: ...

    @overload
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
        batch_timeout: float | None = 600,
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
        block: Literal[False],
    ) -> UploadJob: ...

    @overload
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
        batch_timeout: float | None = 600,
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
        block: bool,
    ) -> pd.DataFrame | UploadJob: ...

    @_documented
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
        batch_timeout: float | None = 600,
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
        block: bool = True,
    ) -> pd.DataFrame | UploadJob:
        from qframe.uploading import upload

        __tracebackhide__ = True  # in a notebook's tracebacks
        return upload(
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
            block=block,
        )

    @_documented
    def plan(
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
        batch_timeout: float | None = 600,
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
        block: bool = True,
    ) -> pd.DataFrame:
        from qframe.planning import plan

        __tracebackhide__ = True
        return plan(
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
            block=block,
        )

    @_documented
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
        from qframe.verification import verify

        __tracebackhide__ = True
        return verify(
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

    @_documented
    def failed(
        self, report: pd.DataFrame, *, status: str | Iterable[str] = ("failed", "skipped")
    ) -> pd.DataFrame:
        from qframe.failed_rows import failed

        __tracebackhide__ = True
        return failed(self._frame, report, status=status)
