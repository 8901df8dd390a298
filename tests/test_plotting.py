"""When an upload did what, and the picture of it."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.image
import matplotlib.style
import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from nbclient import NotebookClient

import qframe
from qframe.errors import ServerError
from qframe.report import BatchResult, Status, to_frame
from qframe.timeline import STEPS, Spans, Timeline, timeline
from tests.server import LocalServer

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_faults_left(server: LocalServer) -> Iterator[None]:
    """Leave the server as the next test expects it."""
    yield
    server.reset(collections=False)


def upload(rows: int, collection: str, con: Any, **options: Any) -> pd.DataFrame:
    """Upload rows ten a batch, and report all that came of it."""
    defaults: dict[str, Any] = {
        "vectors": np.ones((rows, 2)),
        "ids": range(rows),
        "batch_size": 10,
        "progress": False,
        "on_error": "collect",
        "retry": qframe.Retry(attempts=3, backoff=0.01),
    }
    return qframe.upload(pd.DataFrame({"n": range(rows)}), collection, con, **(defaults | options))


def small() -> pd.DataFrame:
    """Return a report of two workers, one of whose batches was halved, and one of which failed."""
    done, lost = Status.APPLIED, Status.FAILED
    return to_frame(
        [
            BatchResult(
                0, 0, 10, 10, done, 1, encode_s=1, worker=0, started_s=0, ended_s=4, requests=(2, 4)
            ),
            BatchResult(
                1, 10, 15, 5, done, 2, 1, 0, 1, worker=3, started_s=0, ended_s=6,
                requests=(1, 2, 5, 6),
            ),
            BatchResult(
                1, 15, 20, 5, lost, 1, worker=3, started_s=6, ended_s=8, requests=(7,),
                error=ServerError("x"),
            ),
            BatchResult(2, 20, 30, 10, Status.UNSENT),
        ],
        {"collection": "films"},
    )  # fmt: skip


def spans(found: Spans) -> list[tuple[int, float, float]]:
    """Return spans as tuples, to a tenth of a second."""
    return [
        (int(row), round(float(start), 1), round(float(stop), 1))
        for row, start, stop in zip(found.rows, found.starts, found.stops, strict=True)
    ]


def many(batches: int, workers: int = 8) -> pd.DataFrame:
    """Return a report of many batches, a tenth of a second each, one worker after another."""
    worker = np.arange(batches) % workers
    began = np.arange(batches) // workers * 0.1
    sent, answered = np.char.mod("%.4f", began + 0.01), np.char.mod("%.4f", began + 0.09)
    return pd.DataFrame(
        {
            "batch": np.arange(batches),
            "points": 10,
            "status": np.where(np.arange(batches) % 100, "applied", "failed"),
            "encode_s": 0.01,
            "worker": worker,
            "started_s": began,
            "ended_s": began + 0.1,
            "requests": [f"{one}-{other}" for one, other in zip(sent, answered, strict=True)],
        }
    )


def size(told: Timeline) -> int:
    """Count the spans that are drawn."""
    kinds = (told.waiting, told.encoding, told.sending, told.repeated, told.failed)
    return sum(len(kind.rows) for kind in kinds) + len(told.rates)


# ---- Read from a report ----


def test_what_each_worker_did() -> None:
    """Encoding, first requests, later ones and failures stand where the report has them."""
    told = timeline(small())
    assert told.workers == [0, 3]
    assert told.seconds == 8
    assert spans(told.waiting) == [(0, 0, 4), (1, 0, 8)]
    assert spans(told.encoding) == [(0, 0, 1), (1, 0, 1), (1, 6, 6)]
    assert spans(told.sending) == [(0, 2, 4), (1, 1, 2), (1, 7, 8)]
    assert spans(told.repeated) == [(1, 5, 6)]
    assert [(row, stop) for row, stop, _ in spans(told.failed)] == [(1, 8)]


def test_throughput_adds_up() -> None:
    """The points that arrived, spread over the time of their batches, and no others."""
    told = timeline(small())
    assert (told.rates * np.diff(told.edges)).sum() == pytest.approx(15)
    assert told.edges[0] == 0
    assert told.edges[-1] == told.seconds


def test_a_batch_in_parts_took_the_time_of_all() -> None:
    """What was halved is one batch, from the beginning of the first part to the end of the last."""
    assert sorted(timeline(small()).latencies) == [4, 8]


def test_order_and_index_do_not_matter() -> None:
    """Lines in another order, with labels that repeat, are the same report."""
    report = pd.concat([small().iloc[::-1]]).set_axis([0] * 4)
    assert spans(timeline(report).sending) == spans(timeline(small()).sending)


def test_a_report_that_was_kept(tmp_path: Path) -> None:
    """A report that went through a file, even one of text, gives the same timeline."""
    small().to_parquet(tmp_path / "report.parquet")
    small().to_csv(tmp_path / "report.csv")
    for kept in (
        pd.read_parquet(tmp_path / "report.parquet"),
        pd.read_csv(tmp_path / "report.csv"),
    ):
        told = timeline(kept)
        assert spans(told.repeated) == spans(timeline(small()).repeated)
        assert told.rates.tolist() == timeline(small()).rates.tolist()


def test_spans_are_bounded() -> None:
    """What is drawn of fifty thousand batches is no more than a picture has room for."""
    assert size(timeline(many(50_000))) < 8 * STEPS
    assert size(timeline(many(400))) > 2 * 400


times = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 100), st.floats(0, 10)), min_size=1, max_size=40
)


@given(times, st.floats(0.001, 5))
def test_joining_keeps_what_is_covered(given: list[tuple[int, float, float]], step: float) -> None:
    """Each span lies within a joined one of its row, and what is joined lies a step apart."""
    rows, starts, took = (np.array(column) for column in zip(*given, strict=True))
    joined = Spans(rows, starts, starts + took).joined(step)
    for row, start, length in given:
        mine = joined.rows == row
        inside = (joined.starts[mine] <= start + 1e-9) & (
            joined.stops[mine] >= start + length - 1e-9
        )
        assert inside.any()
    for row in set(rows.tolist()):
        mine = joined.rows == row
        gaps = joined.starts[mine][1:] - joined.stops[mine][:-1]
        assert (gaps > step * (1 - 1e-6) - 1e-9).all()
    assert (joined.stops - joined.starts >= step - 1e-9).all()


# ---- Of real uploads ----


def test_an_upload_of_each_transport(con: qframe.Connection, collection: str) -> None:
    """Each transport's report can be drawn, and accounts for all that arrived."""
    report = upload(40, collection, con)
    told = timeline(report)
    assert (told.rates * np.diff(told.edges)).sum() == pytest.approx(40)
    assert len(told.latencies) == 4
    assert isinstance(qframe.plot(report), Figure)


def test_an_upload_with_faults(server: LocalServer, collection: str) -> None:
    """What was sent again is drawn as that, and what did not arrive is marked."""
    server.faults(["internal", "rate_limit:0.1"])
    server.poison([17])
    report = upload(200, collection, server.rest_url)
    told = timeline(report)
    assert len(told.repeated.rows) >= 2
    assert len(told.failed.rows) == 1
    (legend,) = [axes.get_legend() for axes in qframe.plot(report).axes[-1:]]
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "waiting",
        "encoding",
        "sending",
        "sending again",
        "did not arrive",
    ]


def test_a_stopped_upload(server: LocalServer, collection: str) -> None:
    """What had been sent when it was stopped is drawn."""

    def stop(event: qframe.ProgressEvent) -> None:
        if event.done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(qframe.UploadInterrupted) as caught:
        upload(400, collection, server.rest_url, progress=stop)
    assert qframe.plot(caught.value).axes


def test_an_upload_that_had_nothing_to_send(server: LocalServer, collection: str) -> None:
    """Where everything had arrived before, there is no more than these words."""
    report = upload(20, collection, server.rest_url)
    figure = qframe.plot(upload(20, collection, server.rest_url, resume=report))
    assert isinstance(figure, Figure)
    assert figure.axes == []
    assert figure.get_suptitle() == f"{collection}: nothing was sent"


# ---- The picture ----


def pixels(report: pd.DataFrame) -> Any:
    """Draw a report, and read the picture."""
    figure: Any = qframe.plot(report)
    return matplotlib.image.imread(io.BytesIO(figure._repr_png_()))


def test_the_picture_is_small() -> None:
    """Ten thousand batches make a picture of a few objects and kilobytes."""
    figure: Any = qframe.plot(many(10_000))
    artists = sum(len(axes.get_children()) for axes in figure.axes)
    assert artists < 150
    assert len(figure._repr_png_()) < 200_000


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_what_is_written_can_be_read(style: str) -> None:
    """The background is there, opaque, and what is written on it is its opposite."""
    with mpl.style.context(style):
        picture = pixels(small())
    assert (picture[..., 3] == 1).all()
    light = picture[..., :3].mean(axis=2)
    edge = light[0, 0]
    assert edge == (1 if style == "default" else 0)
    assert (abs(light - edge) > 0.9).sum() > 1000


def test_names_are_not_typeset() -> None:
    """A name that looks like a formula is written as it is."""
    report = small()
    report.attrs["upload"]["collection"] = r"$\frac{films$ <b>"
    figure = qframe.plot(report)
    assert isinstance(figure, Figure)
    assert figure.get_suptitle().startswith(r"$\frac{films$ <b>: 2 batches in 8.0 s")
    assert len(pixels(report))


def test_into_a_figure_of_the_callers_own() -> None:
    """A figure, or a part of one, can be given to be drawn into."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    assert qframe.plot(small(), figure=left) is left
    qframe.plot(many(100), figure=right)
    assert len(left.axes) == len(right.axes) == 4
    figure.savefig(io.BytesIO())


def test_a_figure_can_be_kept() -> None:
    """It survives pickling, and looks the same."""
    figure = qframe.plot(small())
    pictures = []
    for each in (figure, pickle.loads(pickle.dumps(figure))):
        file = io.BytesIO()
        each.savefig(file, format="png")
        pictures.append(file.getvalue())
    assert pictures[0] == pictures[1]


def test_many_workers() -> None:
    """Where there are more workers than lines of text, some are named."""
    axes = qframe.plot(many(1_000, workers=100)).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["0", "7"]
    assert len(labels) < 20


def test_looking_changes_nothing() -> None:
    """The report is as it was, and pyplot knows of no figure, nor was it loaded."""
    report = small()
    qframe.plot(report)
    pd.testing.assert_frame_equal(report, small())
    code = (
        "import sys, qframe\nfrom tests.test_plotting import small\n"
        "qframe.plot(small()).savefig('/dev/null', format='png')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


NOTEBOOK = """
import sys, qframe
sys.path.insert(0, {root!r})
from tests.test_plotting import small
{before}
qframe.plot(small())
"""


@pytest.mark.parametrize("before", ["", "import matplotlib.pyplot", "%matplotlib inline"])
def test_a_notebook_shows_it_once(before: str) -> None:
    """The value of a cell displays itself, whether pyplot is in use or not."""
    notebook = nbformat.v4.new_notebook()
    cell = nbformat.v4.new_code_cell(NOTEBOOK.format(root=str(ROOT), before=before))
    notebook.cells.append(cell)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(ROOT))
    pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 1
    assert len(cell.outputs) == 1


# ---- What cannot be drawn ----


def test_without_matplotlib() -> None:
    """Without matplotlib it says what to install."""
    code = (
        "import sys\nsys.modules['matplotlib'] = None\n"
        "import qframe\nfrom qframe.report import to_frame\n"
        "try:\n    qframe.plot(to_frame([], {}))\n"
        "except qframe.MissingPackage as error:\n    print(error)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert 'pip install "qframe[plot]"' in done.stdout


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "report: a NoneType, which is no report"),
        (ValueError("x"), "report: a ValueError, which is no report; .* of its error"),
        (pd.DataFrame({"points": [1]}), "report: has no column 'batch', 'status'"),
        (
            small().drop(columns=["started_s", "requests"]),
            "no column 'started_s', 'requests', which tell when .* an older qframe",
        ),
    ],
)
def test_what_is_no_report(given: Any, message: str) -> None:
    """Anything else is refused, and a report of an older version says that it is one."""
    with pytest.raises(qframe.InputError, match=message):
        qframe.plot(given)
