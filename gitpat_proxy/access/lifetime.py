"""How long a token lives: from what people type to a moment in UTC."""

import re
from datetime import UTC, date, datetime, time, timedelta

ACCEPTED = "90d, 12h, 30m, a date (2027-01-31), a time (2027-01-31T12:00:00Z) or never"
_DURATION = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[mhdw])")
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def duration_of(text: str) -> timedelta:
    """Read `90d`, `12h`, `30m`, `2w`; raise ValueError for anything else and for nothing at all."""
    match = _DURATION.fullmatch(text)
    if not match or int(match["number"]) == 0:
        raise ValueError(f"{text!r} is no duration; accepted: 90d, 12h, 30m, 2w and the like")
    return int(match["number"]) * _UNITS[match["unit"]]


def lifetime_of(text: str) -> timedelta | None:
    """Read a duration, or `never` (None)."""
    return None if text == "never" else duration_of(text)


def moment_of(text: str, now: datetime) -> datetime:
    """Read a duration from now on, a time, or a date: the last second of that day in UTC.

    A time without an offset is UTC. Raises ValueError with a sentence.
    """
    try:
        if _DURATION.fullmatch(text):
            return now + duration_of(text)
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time that can be used; accepted: {ACCEPTED}") from None


def expiry_of(text: str, now: datetime, longest: timedelta | None) -> datetime | None:
    """Return when a token made or edited now ends, None for never.

    Raises ValueError with a sentence if that has passed already or is later than `longest` from now
    (None: no limit).
    """
    expires_at = None if text == "never" else moment_of(text, now)
    if expires_at is not None and expires_at <= now:
        raise ValueError(f"{text} has passed already; accepted: {ACCEPTED}")
    if longest is None:
        return expires_at
    if expires_at is None:
        raise ValueError(f"tokens without end are off here; the longest lifetime is {_words(longest)}")
    if expires_at > _latest(now, longest, by_date=len(text) == len("2027-01-31")):
        raise ValueError(f"{text} is too long; the longest lifetime is {_words(longest)}")
    return expires_at


def _latest(now: datetime, longest: timedelta, *, by_date: bool) -> datetime:
    """A date as far ahead as the longest lifetime is meant to be accepted, until its last second."""
    return now + longest + (timedelta(days=1) if by_date else timedelta())


def _words(duration: timedelta) -> str:
    days, rest = divmod(duration, timedelta(days=1))
    return f"{days}d" if not rest else f"{int(duration / timedelta(minutes=1))}m"
