"""Moments as numbers that are counted from 1970, in UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds_of(moment: datetime) -> int:
    """Return how many microseconds after 1970 began a moment is; what is less is cut off."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(microseconds: int) -> datetime:
    """Return the moment so many microseconds after 1970 began; raises OverflowError."""
    return _EPOCH + timedelta(microseconds=microseconds)


def day_of(moment: datetime) -> int:
    """Return the day that a moment lies in; 1970 began with day 0."""
    return (moment - _EPOCH).days
