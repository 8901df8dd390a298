"""``python -m tests.faults --schedules 500 --seed 1``: random schedules, and what came of them."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.faults.schedules import Figures, Schedule, complaint, play
from tests.server import LocalServer


def main() -> int:
    """Play schedules; 1 when one of them failed."""
    arguments = _parser().parse_args()
    # An error that nobody sees is an error too, as it is for pytest.
    warnings.simplefilter("error")
    logging.getLogger("qframe").setLevel(logging.ERROR)
    seeds = (
        [arguments.only]
        if arguments.only is not None
        else range(arguments.seed, arguments.seed + arguments.schedules)
    )
    figures = Figures()
    failing: list[int] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, LocalServer() as server:
        for number, seed in enumerate(seeds, 1):
            schedule = Schedule.draw(seed)
            if arguments.only is not None:
                print(schedule)
            try:
                play(schedule, server, Path(folder), figures)
            except KeyboardInterrupt:
                raise
            except Exception as error:
                failing.append(seed)
                print(complaint(schedule, error), flush=True)
            if number % 50 == 0:
                gc.collect()
                print(f"{number} schedules, {time.monotonic() - began:.0f} s", flush=True)
        complaints = server.complaints()
    print(*figures.lines(), sep="\n")
    if complaints:
        print(f"the server complained:\n{complaints}")
    took = time.monotonic() - began
    print(f"{len(failing)} of {len(seeds)} schedules failed in {took:.0f} s", end="")
    print(f": seeds {failing}" if failing else "")
    return 1 if failing or complaints else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("--schedules", type=int, default=500, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    parser.add_argument("--only", type=int, help="play the schedule of this seed alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
