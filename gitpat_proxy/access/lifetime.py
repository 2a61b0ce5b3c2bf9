"""How long a token lives: from what people type to a moment in UTC."""

import re
from datetime import UTC, date, datetime, time, timedelta

_DURATION = re.compile(r"(?P<number>[0-9]{1,5})(?P<unit>[mhdw])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_ACCEPTED = "90d, 12h, 30m, a date (2027-01-31), a time (2027-01-31T12:00:00Z)"
_DAY_BEGINS = time(0, 0, 0)
_DAY_ENDS = time(23, 59, 59)


def duration_of(text: str) -> timedelta:
    """Read `90d`, `12h`, `30m`, `2w`; raise ValueError for anything else and for nothing at all."""
    match = _DURATION.fullmatch(text)
    if not match or int(match["number"]) == 0:
        raise ValueError(
            f"{text!r} is no duration; accepted: a number of m (minutes), h (hours), d (days) or "
            "w (weeks), as 90d"
        )
    return int(match["number"]) * _UNITS[match["unit"]]


def lifetime_of(text: str) -> timedelta | None:
    """Read a duration, or `never` (None)."""
    return None if text == "never" else duration_of(text)


def beginning_of(text: str, now: datetime) -> datetime | None:
    """Return from when on a token is valid, None (`any`) for no such limit.

    A date begins with its day, in UTC. Raises ValueError with a sentence.
    """
    return None if text == "any" else _moment(text, now, _DAY_BEGINS, f"{_ACCEPTED} or any")


def time_of(text: str, now: datetime) -> datetime:
    """Return the moment that is meant, where a date begins with its day; raises ValueError."""
    return _moment(text, now, _DAY_BEGINS, _ACCEPTED)


def expiry_of(text: str, now: datetime, longest: str) -> datetime | None:
    """Return when a token made or edited now ends, None (`never`) for never.

    A date ends with its day, in UTC. Raises ValueError with a sentence if that has passed already,
    or is further ahead than `longest`: a duration, or `never` for no limit. Of the day that the
    longest lifetime ends in, the token gets the part before.
    """
    expires_at = None if text == "never" else _moment(text, now, _DAY_ENDS, f"{_ACCEPTED} or never")
    if expires_at is not None and expires_at <= now:
        raise ValueError(f"{text} has passed already; accepted: {_ACCEPTED} or never")
    most = lifetime_of(longest)
    if most is None:
        return expires_at
    if expires_at is None:
        raise ValueError(f"tokens without end are off here; the longest lifetime is {longest}")
    latest = now + most
    if _DATE.fullmatch(text) and expires_at.date() == latest.astimezone(UTC).date():
        return min(expires_at, latest)
    if expires_at > latest:
        raise ValueError(f"{text} is too long; the longest lifetime is {longest}")
    return expires_at


def _moment(text: str, now: datetime, time_of_date: time, accepted: str) -> datetime:
    """Read a duration from now on, a date, or a time, which without an offset is UTC."""
    try:
        if _DURATION.fullmatch(text):
            return now + duration_of(text)
        if _DATE.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time_of_date, UTC)
        moment = datetime.fromisoformat(text).replace(microsecond=0)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time that can be used; accepted: {accepted}") from None
