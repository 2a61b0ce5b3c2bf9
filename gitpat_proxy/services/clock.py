"""The time outside of tests."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present moment, with its zone."""
    return datetime.now(UTC)
