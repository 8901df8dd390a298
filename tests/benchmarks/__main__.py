"""``python -m tests.benchmarks``: measure, and write RESULTS.md."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.frames import COLUMNS
from tests.benchmarks.report import to_markdown
from tests.benchmarks.suite import FULL, QUICK, SECTIONS, Profile, run

RESULTS = Path(__file__).with_name("RESULTS.md")


def read_arguments(arguments: Sequence[str]) -> tuple[Profile, Path | None]:
    """Return what to measure, and the file to write; None is the standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure qframe and qdrant-client side by side. Without options everything is "
        "measured, and RESULTS.md written; with any, the results are only printed.",
    )
    parser.add_argument("--quick", action="store_true", help="a look that takes about a minute")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="these sections")
    parser.add_argument("--transports", nargs="+", choices=("grpc", "rest"))
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of a vector")
    parser.add_argument("--columns", nargs="+", type=int, choices=COLUMNS, help="of payload")
    parser.add_argument("--workers", nargs="+", type=int)
    parser.add_argument("--batch-sizes", nargs="+", type=_batch_size, help='a number or "default"')
    parser.add_argument("--pairs", type=int, help="measurements of each case, by both clients")
    parser.add_argument("--out", type=Path, help="the file to write")
    options = vars(parser.parse_args(arguments))
    quick, out, only = options.pop("quick"), options.pop("out"), options.pop("only")
    given = {"sections": only, **options}
    chosen = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    profile = replace(QUICK if quick else FULL, **chosen)
    return profile, RESULTS if out is None and profile == FULL else out


def _batch_size(text: str) -> int | None:
    return None if text == "default" else int(text)


def main(arguments: Sequence[str]) -> None:
    """Measure and write."""
    profile, out = read_arguments(arguments)
    began = time.monotonic()

    def say(sentence: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {sentence}", file=sys.stderr, flush=True)

    results = run(profile, shlex.join(["python", "-m", "tests.benchmarks", *arguments]), say)
    text = to_markdown(results)
    if out is None:
        print(text, end="")
    else:
        out.write_text(text)
    say("done" if out is None else f"done, written to {out.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
