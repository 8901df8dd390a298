"""``python -m tests.faults.figures``: how fast deaths are noticed, and what they cost.

For worker processes: seconds from a SIGKILL in the middle of a request until the batch is with the
server again, through another worker. For the uploading process: points that were sent twice when
it was killed at random moments and gone on with from its journal.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random

from tests.faults.frames import plain
from tests.faults.oracle import check, check_complete
from tests.faults.parents import Job, kill_until_done, parents
from tests.faults.processes import workers
from tests.server import LocalServer


def noticed(server: LocalServer, url: str, collection: str) -> float:
    """Kill one of four workers in a request; return the seconds until its batch came again."""
    data = plain(200)
    server.reset(collections=False)
    server.faults(["delay:2*4"])
    moments: list[float] = []

    def kill() -> None:
        deadline = time.monotonic() + 30
        while len(server.log()) < 4 and time.monotonic() < deadline:
            time.sleep(0.005)
        pid = min(workers())
        moments.append(time.time())
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    report = data.upload(
        collection, url, batch_size=10, workers=4, worker_kind="process", wait=True
    )
    killer.join()
    check(report, data, server, collection, before=data.points)
    assert report["deaths"].sum() == 1
    return server.log()[4]["started"] - moments[0]


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser("python -m tests.faults.figures", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalServer() as server, parents() as parent:
        for transport, url in (("rest", server.rest_url), ("grpc", server.grpc_url)):
            seconds = [noticed(server, url, "noticed") for _ in range(arguments.times)]
            print(
                f"{transport}: a worker that was killed was replaced and its batch sent again "
                f"after {statistics.median(seconds):.3f} s, {max(seconds):.3f} s at the most, "
                f"of {len(seconds)} times",
                flush=True,
            )
        for kind, slow in (("thread", 0.0), ("process", 1.0)):
            for transport, url in (("rest", server.rest_url), ("grpc", server.grpc_url)):
                for wait in (True, False):
                    server.reset()
                    server.faults(["delay:0.02*4000"])
                    random = Random(f"{arguments.seed} {kind} {transport} {wait}")
                    rows = 4000
                    options = {"batch_size": 10, "workers": 4, "worker_kind": kind, "wait": wait}
                    journal = Path(folder, f"{kind}-{transport}-{wait}.qframe")
                    job = Job(url, "killed", str(journal), rows, options)
                    moments = iter([slow + random.uniform(0, 0.4) for _ in range(arguments.times)])
                    killed = kill_until_done(parent, server, job, moments)
                    check_complete(plain(rows), server, "killed")
                    assert not killed.left, killed.left
                    print(
                        f"{transport}, {kind}, wait={wait}: killed {killed.kills} times, "
                        f"{killed.sent - rows} of {rows} points were sent twice",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
