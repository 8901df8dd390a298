"""A plan is what the upload would do, and does none of it."""

from __future__ import annotations

import inspect
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qframe
from qframe.overview import SHOWN_COLUMNS, Plan
from qframe.resume import Past
from qframe.roles import COLUMNS, ROLES
from tests.server import LocalServer
from tests.test_markup import HOSTILE, Reader

ROWS = 12
QUIET = {"progress": False, "wait": True}


def films(rows: int = ROWS, size: int = 3) -> pd.DataFrame:
    """Return a frame with an id, a vector and two payload columns."""
    return pd.DataFrame(
        {
            "id": range(rows),
            "v": list(np.random.default_rng(1).random((rows, size), dtype=np.float32)),
            "title": [None if n % 4 == 3 else f"film {n}" for n in range(rows)],
            "year": range(1980, 1980 + rows),
        }
    )


OPTIONS: dict[str, Any] = {"vectors": "v", "ids": "id"}


def told(plan: pd.DataFrame) -> dict[str, Any]:
    """Return what a plan says besides its columns."""
    found: dict[str, Any] = plan.attrs["plan"]
    return found


def describe(con: qframe.Connection, collection: str) -> Any:
    """Return what is known of a collection."""
    with con.store() as store:
        return store.describe(collection)


def role(plan: pd.DataFrame, **wanted: Any) -> dict[str, Any]:
    """Return the one row that has these cells."""
    rows = plan
    for name, value in wanted.items():
        rows = rows[rows[name].isna() if value is None else rows[name] == value]
    (row,) = rows.to_dict("records")
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}


# ---- Nothing is sent, nothing is made ----


def test_it_takes_what_an_upload_takes() -> None:
    """Any call of upload is a call of plan, so that one word makes the one of the other."""
    ours, theirs = inspect.signature(qframe.plan), inspect.signature(qframe.upload)
    assert [*ours.parameters.values()] == [*theirs.parameters.values()]


def test_nothing_is_made(con: qframe.Connection, collection: str) -> None:
    """There is no collection afterwards, and where there was no folder, none."""
    plan = films().qdrant.plan(collection, con, **OPTIONS)
    assert told(plan)["problems"] == []
    assert told(plan)["action"] == "create"
    assert con.transport != "embedded" or not Path(con.target).exists()
    assert describe(con, collection) is None


@pytest.mark.parametrize("if_exists", ["append", "replace", "fail"])
def test_nothing_is_changed(con: qframe.Connection, collection: str, if_exists: Any) -> None:
    """A collection that is there stays as it is, also one that would be replaced."""
    films().qdrant.upload(collection, con, **OPTIONS, **QUIET)
    before = qframe.read_collection(collection, con)
    newer = films(7).assign(title="newer")
    newer.qdrant.plan(collection, con, **OPTIONS, if_exists=if_exists)
    pd.testing.assert_frame_equal(qframe.read_collection(collection, con), before)


def test_the_files_of_a_store_stay(tmp_path: Path) -> None:
    """A plan for the embedded engine leaves every file of the store as it was."""
    films().qdrant.upload("films", tmp_path, **OPTIONS, **QUIET)
    describe(qframe.connect(tmp_path), "films")  # the engine tidies up whenever it opens
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    films(5).qdrant.plan("films", tmp_path, **OPTIONS, if_exists="replace")
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_the_frame_stays() -> None:
    """Planning leaves the caller's frame as it was."""
    frame = films()
    before = frame.copy(deep=True)
    frame.qdrant.plan("films", ":memory:", **OPTIONS)
    pd.testing.assert_frame_equal(frame, before)
    assert frame.attrs == {}


# ---- It is what the upload then does ----


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.integers(1, 50),
    batch_size=st.sampled_from([None, 1, 7, 20]),
    max_batch_bytes=st.sampled_from([None, 700, 2500]),
    missing=st.sampled_from(["null", "drop"]),
    seed=st.integers(0, 99),
)
def test_the_report_says_the_same(
    con: qframe.Connection,
    collection: str,
    rows: int,
    batch_size: int | None,
    max_batch_bytes: int | None,
    missing: str,
    seed: int,
) -> None:
    """Batches, points and bytes of a plan are those of the report of the same call."""
    random = np.random.default_rng(seed)
    frame = films(rows).assign(
        title=["é" * length for length in random.integers(0, 90, rows)],
        words=[{"indices": [n], "values": [1.0]} if n % 3 != 1 else None for n in range(rows)],
        many=list(random.random((rows, 2, 4))),
        price=np.where(random.random(rows) < 0.2, np.inf, 1.5),
    )
    frame.loc[0, "price"] = 1.0
    options: dict[str, Any] = {
        "vectors": {"v": "v", "words": "words", "many": "many"},
        "ids": "id",
        "bad_rows": "skip",
        "batch_size": batch_size,
        "max_batch_bytes": max_batch_bytes,
        "missing": missing,
        "if_exists": "replace",
    }
    plan = told(frame.qdrant.plan(collection, con, **options))
    report = frame.qdrant.upload(collection, con, **options, **QUIET)
    summary = report.attrs["upload"]
    assert plan["problems"] == []
    assert plan["batches"]["count"] == len(report)
    assert plan["batches"]["points"] == plan["points"] == report["points"].sum()
    assert plan["skipped"] == summary["skipped"]
    assert plan["bad_rows"] == rows - report["points"].sum()
    sizes = plan["batches"]["bytes"]
    assert sizes["bound"] >= report["bytes"].sum()
    if sizes["exact"]:
        assert sizes["sum"] == summary["bytes"]
        assert sizes["largest"] == report["bytes"].max()
        assert sizes["mean"] == pytest.approx(report["bytes"].mean())


def test_few_batches_are_all_encoded() -> None:
    """What is encoded as a whole is known to the byte."""
    plan = told(films().qdrant.plan("films", ":memory:", **OPTIONS, batch_size=5))
    assert plan["batches"]["bytes"]["exact"]
    assert plan["estimate"]["sampled"] == {"batches": 3, "points": ROWS}


def test_many_batches_are_carried_over(server_con: qframe.Connection, collection: str) -> None:
    """The bytes of many batches are told from a sample, and near to what they are."""
    frame = films(600)
    plan = told(frame.qdrant.plan(collection, server_con, **OPTIONS, batch_size=2))
    report = frame.qdrant.upload(collection, server_con, **OPTIONS, **QUIET, batch_size=2)
    assert plan["batches"]["count"] == len(report) == 300
    assert not plan["batches"]["bytes"]["exact"]
    assert plan["batches"]["bytes"]["sum"] == pytest.approx(report["bytes"].sum(), rel=0.1)


@pytest.mark.parametrize(("given", "limit"), [(None, (1000, "default")), (5, (5, "argument"))])
def test_limits_say_where_they_come_from(given: int | None, limit: tuple[int, str]) -> None:
    """A limit is the default's or the caller's."""
    plan = told(films().qdrant.plan("films", ":memory:", **OPTIONS, batch_size=given))
    assert (plan["limits"]["points"]["most"], plan["limits"]["points"]["from"]) == limit
    assert plan["limits"]["bytes"] == {"most": 16 * 2**20, "from": "default"}


def test_strict_mode(server_con: qframe.Connection, collection: str) -> None:
    """The limits of a collection's strict mode are told, and batches are cut by them."""
    strict = {"enabled": True, "upsert_max_batchsize": 5, "max_points_count": 100}
    config = {"strict_mode_config": strict}
    options = OPTIONS | {"collection_config": config}
    new = told(films().qdrant.plan(collection, server_con, **options))
    films(2).qdrant.upload(collection, server_con, **options, **QUIET)
    found = told(films().qdrant.plan(collection, server_con, **OPTIONS))
    for plan in (new, found):
        assert plan["strict_mode"] == {"upsert_max_batchsize": 5, "max_points_count": 100}
        assert plan["limits"]["points"] == {"most": 5, "from": "strict mode"}
        assert plan["batches"]["count"] == 3
        assert plan["problems"] == []


def test_what_is_to_be_made(con: qframe.Connection, collection: str) -> None:
    """The vectors of a new collection are told with their sizes and distances."""
    plan = told(
        films().qdrant.plan(collection, con, vectors={"a": "v"}, ids="id", distance={"a": "dot"})
    )
    vector = {"kind": "dense", "size": 3, "distance": "dot", "settings": {}}
    assert plan["new"] == {"vectors": {"a": vector}, "settings": {}}
    assert plan["existing"] is None
    assert plan["lost"] == 0


def test_what_is_there(con: qframe.Connection, collection: str) -> None:
    """A collection that exists is told with its points, and what replacing it would cost."""
    films().qdrant.upload(collection, con, **OPTIONS, **QUIET)
    added = told(films(3).qdrant.plan(collection, con, **OPTIONS))
    assert (added["action"], added["existing"]["points"], added["new"]) == ("add", ROWS, None)
    assert added["lost"] == 0
    plan = films(3, size=5).qdrant.plan(collection, con, **OPTIONS, if_exists="replace")
    anew = told(plan)
    assert (anew["action"], anew["lost"], anew["problems"]) == ("replace", ROWS, [])
    assert anew["existing"]["vectors"][""]["size"] == 3
    assert anew["new"]["vectors"][""]["size"] == 5
    assert f"deleted first, with its {ROWS} points" in repr(plan)


# ---- How long ----


def test_estimate(con: qframe.Connection, collection: str) -> None:
    """The time for encoding is measured, for servers that of a request too; the rest is named."""
    found = told(films(3000).qdrant.plan(collection, con, **OPTIONS))["estimate"]
    assert found["seconds"] > 0
    assert found["encode_s"] > 0
    is_server = con.transport != "embedded"
    assert (found["round_trip_s"] is not None) == is_server
    assert found["workers"] == (2 if is_server else 1)
    assert "own work" in found["without"]


def test_estimate_of_what_is_throttled(server_con: qframe.Connection, collection: str) -> None:
    """Points that strict mode grants a minute take as many minutes."""
    config = {"strict_mode_config": {"enabled": True, "write_rate_limit": 10}}
    plan = films(30).qdrant.plan(collection, server_con, **OPTIONS, collection_config=config)
    assert told(plan)["estimate"]["seconds"] == pytest.approx(120)


def test_an_empty_frame(con: qframe.Connection, collection: str) -> None:
    """A frame without rows has a plan without batches."""
    frame = pd.DataFrame({"v": pd.Series([], dtype=object)})
    plan = frame.qdrant.plan(collection, con, vectors=np.empty((0, 3)), payload=[])
    assert told(plan)["batches"]["count"] == 0
    assert told(plan)["estimate"]["seconds"] == 0
    assert "nothing to send" in repr(plan)


# ---- Whatever the upload would raise is a problem ----

EXISTING: dict[str, dict[str, Any]] = {
    "another size": {"frame": films(size=4)},
    "another kind": {"frame": films().assign(v=[np.ones((2, 3))] * ROWS)},
    "a name that it lacks": {"vectors": {"other": "v"}},
    "another distance": {"distance": "euclid"},
    "it must not exist": {"if_exists": "fail"},
    "ids that only count": {"ids": None},
    "a shard key": {"shard_key": "a"},
}

NEW: dict[str, dict[str, Any]] = {
    "a bad row": {"frame": films().assign(year=[np.inf, *[1.0] * (ROWS - 1)])},
    "bad rows alone": {"frame": films().assign(year=np.inf), "bad_rows": "skip"},
    "no vector at all": {"frame": films().assign(v=None), "vectors": {"a": "v"}},
    "custom sharding": {"collection_config": {"sharding_method": "custom"}},
    "a shard key": {"shard_key": "a"},
}

STRICT: dict[str, dict[str, Any]] = {
    "batches too large": {"batch_size": 8},
    "too many points": {},
    "a wait too long": {"wait": True},
}


def check_problems(con: qframe.Connection, collection: str, given: dict[str, Any]) -> list[str]:
    """Compare the problems of a plan with what the upload raises; return them."""
    options = OPTIONS | given
    frame = options.pop("frame", films())
    problems: list[str] = told(frame.qdrant.plan(collection, con, **options))["problems"]
    with pytest.raises(qframe.QframeError) as caught:
        frame.qdrant.upload(collection, con, **options, progress=False)
    assert not isinstance(caught.value, qframe.UploadError)
    assert str(caught.value) in problems
    return problems


@pytest.mark.parametrize("name", EXISTING)
def test_problems_of_an_existing_collection(
    con: qframe.Connection, collection: str, name: str
) -> None:
    """What makes an upload to a collection that is there raise is in the plan, word for word."""
    films().qdrant.upload(collection, con, **OPTIONS, **QUIET)
    check_problems(con, collection, EXISTING[name])


@pytest.mark.parametrize("name", NEW)
def test_problems_of_a_new_collection(con: qframe.Connection, collection: str, name: str) -> None:
    """What makes an upload to a new collection raise is in the plan, word for word."""
    check_problems(con, collection, NEW[name])


@pytest.mark.parametrize("name", STRICT)
def test_problems_of_strict_mode(server_con: qframe.Connection, collection: str, name: str) -> None:
    """What strict mode does not take is a problem."""
    strict = {
        "enabled": True,
        "upsert_max_batchsize": 7,
        "max_points_count": 9,
        "max_timeout": 5,
    }
    films(2).qdrant.upload(
        collection,
        server_con,
        **OPTIONS,
        **QUIET,
        collection_config={"strict_mode_config": strict},
    )
    con = qframe.connect(server_con.target, api_key=server_con.api_key, timeout=30)
    assert check_problems(con, collection, STRICT[name])


def test_settings_that_the_embedded_engine_lacks(tmp_path: Path) -> None:
    """A setting that only a server has is a problem for the embedded engine."""
    con = qframe.connect(tmp_path / "store")
    check_problems(con, "films", {"collection_config": {"shard_number": 2}})
    assert not (tmp_path / "store").exists()


def test_all_problems_are_told(con: qframe.Connection, collection: str) -> None:
    """A plan tells of every vector that does not fit, and of bad rows too, where upload stops."""
    frame = films().assign(w=films(size=5)["v"])
    frame.qdrant.upload(collection, con, vectors={"v": "v", "w": "w"}, ids="id", **QUIET)
    frame = frame.assign(v=frame["w"], w=films(size=7)["v"], year=[np.inf, *[1.0] * (ROWS - 1)])
    given = {"frame": frame, "vectors": {"v": "v", "w": "w"}, "distance": "dot"}
    problems = check_problems(con, collection, given)
    assert [text.split(" ")[0] for text in problems] == [
        "distance='dot':",
        "distance='dot':",
        "vectors['v']:",
        "vectors['w']:",
        "1",
    ]


def test_a_row_is_bad_once() -> None:
    """A vector that is looked at again, as it does not fit, leaves its findings once."""
    films().qdrant.upload("bad-once", ":memory:", vectors={"": "v"}, ids="id", **QUIET)
    frame = films(size=4)
    frame["v"] = [None if n == 2 else vector for n, vector in enumerate(frame["v"])]
    plan = told(frame.qdrant.plan("bad-once", ":memory:", **OPTIONS))
    assert [(s["label"], s["reason"]) for s in plan["skipped"]] == [(2, "no vector")]
    assert len(plan["problems"]) == 2


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"vectors": "nope"}, "no column 'nope'"),
        ({"ids": "title"}, "no UUID"),
        ({"payload": ["nope"]}, "no column 'nope'"),
        ({"if_exists": "perhaps"}, "if_exists"),
        ({"distance": "far"}, "distance"),
        ({"distance": {"nope": "dot"}}, "speaks of the vector 'nope'"),
        ({"batch_size": 0}, "batch_size"),
        ({"on_error": "ignore"}, "on_error"),
        ({"bad_rows": "ignore"}, "bad_rows"),
        ({"progress": "loud"}, "progress"),
        ({"worker_kind": "fork"}, "worker_kind"),
        ({"collection_config": {"shards": 2}}, "no setting 'shards'"),
        ({"journal": "a", "resume": pd.DataFrame()}, "pass one of them"),
    ],
)
def test_mistakes_in_the_call_raise(given: dict[str, Any], match: str) -> None:
    """What is wrong with the call itself raises as it does in an upload."""
    for act in (films().qdrant.plan, films().qdrant.upload):
        with pytest.raises(qframe.InputError, match=match):
            act("mistakes", ":memory:", **(OPTIONS | given))


def test_a_server_that_is_not_there() -> None:
    """Where nobody answers there is nothing to plan with."""
    with pytest.raises(qframe.ServerUnreachable):
        films().qdrant.plan("films", "http://127.0.0.1:9", **OPTIONS)


class Gateway(BaseHTTPRequestHandler):
    """Passes on what is asked of collections, and nothing else."""

    behind: str

    def do_GET(self) -> None:
        """Pass a request on."""
        self._answer(None)

    def do_POST(self) -> None:
        """Pass a request and its body on."""
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes | None) -> None:
        status, answer = 404, b"{}"
        if self.path.startswith("/collections"):
            kind = {"Content-Type": "application/json"}
            try:
                with urlopen(Request(self.behind + self.path, body, kind)) as found:
                    status, answer = found.status, found.read()
            except HTTPError as error:
                status, answer = error.code, error.read()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


def test_a_gateway_that_lets_only_collections_through(server: LocalServer, collection: str) -> None:
    """A plan asks nothing of a server that it cannot do without, and an upload does not ask."""
    films().qdrant.upload(collection, server.rest_url, **OPTIONS, **QUIET)
    handler = type("Handler", (Gateway,), {"behind": server.rest_url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as gateway:
        threading.Thread(target=gateway.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{gateway.server_port}"
            plan = films().qdrant.plan(collection, url, **OPTIONS)
        finally:
            gateway.shutdown()
    assert told(plan)["problems"] == []
    assert told(plan)["estimate"]["round_trip_s"] is None
    assert "without requests, which could not be measured" in repr(plan)


# ---- What is left of an earlier run ----


def half(con: qframe.Connection, collection: str, **options: Any) -> pd.DataFrame:
    """Upload until the second batch is in, and return the report."""

    def stop(event: qframe.ProgressEvent) -> None:
        if not event.finished and event.done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(qframe.UploadInterrupted) as caught:
        films(400).qdrant.upload(
            collection,
            con,
            **OPTIONS,
            batch_size=4,
            order="ordered",
            wait=True,
            progress=stop,
            **options,
        )
    return caught.value.report


def test_resume(con: qframe.Connection, collection: str) -> None:
    """Points that a report tells as arrived are not in the batches."""
    report = half(con, collection)
    arrived = int(report.loc[report["attempts"] > 0, "points"].sum())
    plan = films(400).qdrant.plan(collection, con, **OPTIONS, batch_size=4, resume=report)
    assert told(plan)["resumed"] == arrived >= 8
    assert told(plan)["batches"]["points"] == 400 - arrived
    assert f"{400 - arrived:,} are left" in repr(plan)


def test_a_journal_is_only_read(con: qframe.Connection, collection: str, tmp_path: Path) -> None:
    """What is left is told by the journal, which stays as it is, also while it is in use."""
    journal = tmp_path / "films.qframe"
    films(400).qdrant.plan(collection, con, **OPTIONS, journal=journal)
    assert not journal.exists()
    report = half(con, collection, journal=journal)
    with journal.open("ab") as file:
        file.write(b"torn")
    before = journal.read_bytes()
    plan = told(films(400).qdrant.plan(collection, con, **OPTIONS, journal=journal))
    assert journal.read_bytes() == before
    assert plan["resumed"] == report.loc[report["attempts"] > 0, "points"].sum()
    assert plan["action"] == "add"


def test_a_journal_that_is_written_meanwhile(
    server_con: qframe.Connection, collection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points that another upload adds while a plan is made are not taken for lost ones."""
    journal = tmp_path / "films.qframe"
    half(server_con, collection, journal=journal)
    look = Past.look

    def upload_first(past: Past, *args: Any) -> None:
        films(400).qdrant.upload(collection, server_con, **OPTIONS, **QUIET, journal=journal)
        look(past, *args)

    monkeypatch.setattr(Past, "look", upload_first)
    plan = told(films(400).qdrant.plan(collection, server_con, **OPTIONS, journal=journal))
    assert (plan["problems"], plan["resumed"]) == ([], 400)


def test_a_vector_that_no_row_has(con: qframe.Connection, collection: str) -> None:
    """A new collection cannot be made with it, which is told once, and one that has it is fine."""
    frame = films().assign(w=None)
    options = OPTIONS | {"vectors": {"v": "v", "w": "w"}}
    (problem,) = check_problems(con, collection, options | {"frame": frame})
    assert problem.startswith("no row has a vector 'w'")
    films().assign(w=[[1.0]] * ROWS).qdrant.upload(collection, con, **options, **QUIET)
    assert told(frame.qdrant.plan(collection, con, **options))["problems"] == []


def test_what_cannot_be_gone_on_with(
    con: qframe.Connection, collection: str, tmp_path: Path
) -> None:
    """A report or a journal of other data is a problem."""
    journal = tmp_path / "films.qframe"
    report = films().qdrant.upload(collection, con, **OPTIONS, **QUIET, journal=journal)
    options = {"wait": True, "frame": films(5)}
    check_problems(con, collection, options | {"resume": report})
    check_problems(con, collection, options | {"journal": journal})
    check_problems(con, f"{collection}-2", options | {"resume": report})
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    check_problems(con, collection, options | {"journal": foreign})
    check_problems(con, collection, options | {"journal": tmp_path / "none" / "films.qframe"})
    with con.store() as store:
        store.delete(collection)
    options = {"wait": True, "resume": report}
    assert "no such collection any more" in check_problems(con, collection, options)[0]


# ---- The columns ----

KINDS: dict[str, tuple[Any, str, int | None]] = {
    "column": ("v", "dense", 3),
    "array": (np.ones((ROWS, 6)), "dense", 6),
    "multi": (np.ones((ROWS, 2, 4)), "multi", 4),
    "sparse": (scipy.sparse.eye(ROWS, format="csr"), "sparse", None),
    "Series": (pd.Series([[1.0, 2.0]] * ROWS), "dense", 2),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_vector(con: qframe.Connection, collection: str, name: str) -> None:
    """Each kind of vector is told with its size, be it a column or none."""
    vectors, kind, size = KINDS[name]
    plan = films().qdrant.plan(collection, con, vectors={"a": vectors}, ids="id")
    row = role(plan, role="vector")
    assert (row["name"], row["kind"], row["size"]) == ("a", kind, size)
    assert row["column"] == ("v" if name == "column" else None)
    assert told(plan)["problems"] == []


def test_columns_of_one_vector() -> None:
    """Columns that are one number of a vector each are told one by one, and shown as one."""
    frame = pd.DataFrame(np.ones((4, 300)), columns=[f"x{n}" for n in range(300)])
    plan = frame.assign(t="a").qdrant.plan(
        "wide", ":memory:", vectors=list(frame.columns), ids=range(4)
    )
    rows = plan[plan["role"] == "vector"]
    assert rows["column"].tolist() == list(frame.columns)
    assert set(rows["becomes"]) == {"one number of the vector"}
    assert set(rows["size"]) == {300}
    for text in (repr(plan), plan._repr_html_()):
        assert "x0 … x299 (300 columns)" in text
        assert "x150" not in text


def test_every_role() -> None:
    """A column has a row a role; what is no column has rows behind them."""
    frame = films().assign(lat=48.1, lon=11.6, spare=1)
    plan = frame.qdrant.plan(
        "roles",
        ":memory:",
        vectors="v",
        ids=qframe.uuid5("id", "title"),
        payload=["year", qframe.geo(key="place"), "title"],
        bad_rows="skip",
    )
    assert set(plan["role"]) == set(ROLES)
    assert plan.dtypes.astype(str).to_dict() == COLUMNS
    columns = plan[plan["column"].notna()]["column"].drop_duplicates().tolist()
    assert columns == list(frame.columns)
    key = role(plan, column="title", role="id")
    assert (key["becomes"], key["missing"]) == ("a key of uuid5('id', 'title')", 3)
    assert role(plan, column="title", role="payload")["becomes"] == "string"
    assert key["bad_rows"] == 3
    assert role(plan, column="id", role="payload")["becomes"] == "integer"
    assert role(plan, column="lat", role="payload")["name"] == "place"
    geo = role(plan, source="geo('lat', 'lon')")
    assert (geo["column"], geo["role"], geo["name"], geo["missing"]) == (
        None,
        "payload",
        "place",
        0,
    )
    assert role(plan, source="uuid5('id', 'title')")["role"] == "id"
    assert role(plan, column="spare")["role"] == "unused"


@pytest.mark.parametrize(
    ("ids", "source", "becomes"),
    [
        (None, "index", "unsigned integer, the number of the row"),
        (qframe.uuid4(), "uuid4()", "UUID, version 4, a new one in every run"),
        (np.arange(ROWS), "array", "unsigned integer"),
    ],
)
def test_ids_that_are_no_column(ids: Any, source: str, becomes: str) -> None:
    """Ids of the index, of an array, or drawn, have a row without a column."""
    plan = films().qdrant.plan("ids", ":memory:", vectors="v", ids=ids)
    row = role(plan, role="id")
    assert (row["column"], row["source"], row["becomes"]) == (None, source, becomes)


def test_bad_rows_are_counted_where_they_were_found() -> None:
    """Bad rows never raise: they are listed by label, and counted by column."""
    frame = films().set_axis([f"r{n}" for n in range(ROWS)])
    frame["year"] = [np.inf, np.inf, *[1.0] * (ROWS - 2)]
    frame["id"] = [0, 1, 2, 2, *range(4, ROWS)]
    frame["v"] = [[1.0] if n == 5 else vector for n, vector in enumerate(frame["v"])]
    plan = frame.qdrant.plan("bad", ":memory:", **OPTIONS)
    counts = plan.set_index("column")["bad_rows"].to_dict()
    assert counts == {"id": 1, "v": 1, "title": 0, "year": 2}
    found = told(plan)
    assert [finding["label"] for finding in found["skipped"]] == ["r0", "r1", "r3", "r5"]
    assert (found["bad_rows"], found["findings"], found["points"]) == (4, 4, ROWS - 4)
    assert "row 'r0': inf" in found["problems"][0]
    skipping = frame.qdrant.plan("bad", ":memory:", **OPTIONS, bad_rows="skip")
    assert told(skipping)["problems"] == []
    assert "r0" in skipping._repr_html_()
    assert "row r0, column 'year': inf" in repr(skipping)


def test_many_bad_rows_are_bounded() -> None:
    """A plan holds a thousand findings, and says how many there are."""
    frame = films(1500).assign(year=[1.0, *[np.inf] * 1499])
    found = told(frame.qdrant.plan("bad", ":memory:", **OPTIONS, bad_rows="skip"))
    assert (len(found["skipped"]), found["findings"], found["bad_rows"]) == (1000, 1499, 1499)


# ---- How it looks ----


def test_it_is_a_frame(tmp_path: Path) -> None:
    """A plan survives a file, its parts are plain frames, and what it says is JSON."""
    plan = films().qdrant.plan("films", ":memory:", **OPTIONS)
    assert isinstance(plan, Plan)
    assert json.loads(json.dumps(plan.attrs)) == plan.attrs
    plan.to_parquet(tmp_path / "plan.parquet")
    back = pd.read_parquet(tmp_path / "plan.parquet")
    pd.testing.assert_frame_equal(back, pd.DataFrame(plan))
    assert back.attrs == plan.attrs
    part = plan[["column", "role"]].head(2)
    assert type(part) is pd.DataFrame
    assert "<td>payload</td>" not in str(plan._repr_html_())
    assert "dataframe" in part._repr_html_()
    assert repr(part) == repr(pd.DataFrame(part))


def test_a_plan_that_lost_its_columns_is_shown_as_a_frame() -> None:
    """What was changed in place is shown as pandas shows it."""
    plan = films().qdrant.plan("films", ":memory:", **OPTIONS)
    del plan["becomes"]
    assert "dataframe" in plan._repr_html_()
    assert "becomes" not in repr(plan)


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("kept", [[], [3], [0, 3]])
def test_a_plan_that_lost_rows_is_shown_as_a_frame(kept: list[int]) -> None:
    """What was dropped in place is not told as if it had never been there."""
    plan = films().qdrant.plan("films", ":memory:", **OPTIONS)
    plan.drop(index=[at for at in plan.index if at not in kept], inplace=True)  # noqa: PD002
    assert "dataframe" in str(plan._repr_html_())
    assert "nothing was sent" not in repr(plan)


def test_hostile_names_stay_text(con: qframe.Connection, collection: str) -> None:
    """HTML in names, labels, reasons and settings is shown, and does nothing."""
    frame = films().rename(columns={"title": HOSTILE, "year": f"{HOSTILE}2"})
    frame.index = pd.Index([f"{HOSTILE} {n}" for n in range(ROWS)])
    frame["note"] = ["fine"] * (ROWS - 1) + [HOSTILE.encode()]
    for bad_rows in ("raise", "skip"):
        plan = frame.qdrant.plan(
            collection, con, vectors={HOSTILE: "v"}, ids="id", bad_rows=bad_rows
        )
        reader = Reader(plan._repr_html_())
        assert reader.open == []
        assert reader.tags == {
            *("div", "strong", "table", "thead", "tbody", "tr", "th", "td"),
        }
        text = "".join(reader.words)
        assert HOSTILE in text
        label = f"{HOSTILE} 11"
        assert label in text or repr(label) in text
        assert HOSTILE in repr(plan)


def test_many_columns_are_bounded() -> None:
    """A page shows some of hundreds of columns, and says how many more there are."""
    frame = films().assign(**{f"note {n}": "text" for n in range(200)})
    plan = frame.qdrant.plan("many", ":memory:", **OPTIONS)
    assert len(plan) == 204
    html = str(plan._repr_html_())
    assert SHOWN_COLUMNS < html.count("<tr ") < SHOWN_COLUMNS + 20
    assert f"{204 - SHOWN_COLUMNS} more rows" in html
    assert f"{204 - SHOWN_COLUMNS} more rows" in repr(plan)
    assert "202 keys: title, year, note 0" in html


def test_long_names_and_many_vectors_are_bounded() -> None:
    """Neither what somebody wrote at length nor hundreds of vectors fill a page."""
    long = "x" * 100_000
    frame = pd.DataFrame({long: [np.inf, 1.0], "id": [1, 2]}, index=[long, "b"])
    vectors = {f"v{n}": np.ones((2, 2)) for n in range(500)}
    plan = frame.qdrant.plan("long", ":memory:", vectors=vectors, ids="id", bad_rows="skip")
    assert len(plan._repr_html_() or "") < 100_000
    assert len(repr(plan)) < 10_000
    assert "488" in repr(plan)


def test_bad_rows_are_listed_beside_other_problems(tmp_path: Path) -> None:
    """They are left out only where a problem tells of them, whatever words it shares with them."""
    frame = films().assign(year=[np.inf] + [1.0] * (ROWS - 1))
    films().qdrant.upload("info", tmp_path, **OPTIONS, **QUIET)
    options = OPTIONS | {"if_exists": "fail"}
    plan = frame.qdrant.plan("info", tmp_path, **options, bad_rows="skip")
    assert "row 0, column 'year': inf" in repr(plan)
    assert "row 0, column 'year': inf" not in repr(frame.qdrant.plan("info", tmp_path, **options))


def test_what_to_type_next(con: qframe.Connection, collection: str) -> None:
    """A page ends with the next step."""
    plan = films().qdrant.plan(collection, con, **OPTIONS)
    assert ".upload( in the place of .plan(" in repr(plan).splitlines()[-1]
    films().qdrant.upload(collection, con, **OPTIONS, **QUIET)
    refused = films().qdrant.plan(collection, con, **OPTIONS, if_exists="fail")
    assert repr(refused).splitlines()[-1] == "Next: mend what is named above, and plan again"
    assert "1 problem: the upload would refuse this" in refused._repr_html_()
