"""An upload's report as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qframe.errors import MissingPackage
from qframe.figures import counted, duration
from qframe.telling import frame_of, short
from qframe.timeline import timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def plot(report: Any, *, figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """Draw what the workers did and when, how many points arrived, and how long batches took.

    Parameters
    ----------
    report : DataFrame, UploadJob, UploadError or UploadInterrupted
        What `upload` returned, or the error that it raised.
    figure : matplotlib.figure.Figure or SubFigure, optional
        To draw into; None is a new one.

    Returns
    -------
    matplotlib.figure.Figure
        As the value of a cell it displays itself; ``figure.savefig("upload.png")`` keeps it.
        Nothing else does, pyplot neither.

    Raises
    ------
    InputError
        When it is no report, or one of an older version, that has no times.
    MissingPackage
        Without matplotlib, which ``pip install "qframe[plot]"`` brings.

    Examples
    --------
    >>> import numpy as np, pandas as pd, qframe
    >>> df = pd.DataFrame({"n": range(3000)})
    >>> report = df.qdrant.upload("drawn", ":memory:", vectors=np.ones((3000, 4)), progress=False)
    >>> figure = qframe.plot(report)
    >>> figure.get_suptitle()
    'drawn: 3 batches in ...'
    """
    frame = frame_of(report)
    told = timeline(frame)
    try:
        from qframe.drawing import draw
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise MissingPackage(
            'qframe.plot draws with matplotlib, which is not installed: pip install "qframe[plot]"'
        ) from None
    summary = frame.attrs.get("upload") or {}
    place = f"{short(summary['collection'])}: " if summary.get("collection") else ""
    batches = counted(len(told.latencies), "batch", "batches")
    done = f"{batches} in {duration(told.seconds)}" if told.workers else "nothing was sent"
    return draw(told, place + done, figure)
