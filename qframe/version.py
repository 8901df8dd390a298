"""The version, also as servers are told it."""

from __future__ import annotations

__version__ = "0.1.0"

USER_AGENT = f"qframe/{__version__}"
