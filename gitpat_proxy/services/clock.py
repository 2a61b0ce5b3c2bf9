"""The time outside of tests."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gitpat_proxy.access.model import Clock


def utc_now() -> datetime:
    """Return the present moment, with its zone."""
    return datetime.now(UTC)


def unhurried(clock: Clock, elapsed: Callable[[], float] = time.monotonic) -> Clock:
    """Return a clock for what is removed by its age: one that jumps ahead removes nothing by that.

    It says what the clock says, but no more than what has really passed since it was made.
    """
    beginning, start = clock(), elapsed()
    return lambda: min(clock(), beginning + timedelta(seconds=elapsed() - start))
