"""What was measured with, and on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

PACKAGES = (
    "qframe",
    "qdrant-client",
    "pandas",
    "numpy",
    "pyarrow",
    "grpcio",
    "protobuf",
    "orjson",
    "requests",
    "urllib3",
    "httpx",
    "pydantic",
    "qdrant-edge-py",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer.

    Attributes
    ----------
    processor : str
        Its model.
    cores : int
        That this process may use.
    memory : int
        Bytes.
    system : str
    load : float
        Processes that ran or waited to run, over the minute before.
    """

    processor: str
    cores: int
    memory: int
    system: str
    load: float


def this_machine() -> Machine:
    """Describe the machine that this runs on, and how busy it is."""
    usable = getattr(os, "sched_getaffinity", None)
    return Machine(
        _processor(),
        len(usable(0)) if usable else os.cpu_count() or 1,
        psutil.virtual_memory().total,
        f"{platform.system()} {platform.release()}, {platform.machine()}",
        psutil.getloadavg()[0],
    )


def versions() -> dict[str, str]:
    """Return the versions of Python and of all packages that have a part in the figures."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in PACKAGES
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # only Linux has it
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"
