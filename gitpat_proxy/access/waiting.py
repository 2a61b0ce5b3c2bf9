"""How long somebody waits who failed to sign in: guessing gets slow, nobody is locked out."""

from datetime import datetime, timedelta

FREE_FAILURES = 5
"""People mistype; only from here on does each failure double the wait."""
LONGEST_WAIT = timedelta(minutes=15)
LONGEST_WAIT_OF_ACCOUNT = timedelta(seconds=30)
"""What strangers, from however many addresses, can do at most to somebody on a device that is new."""
FORGOTTEN_AFTER = timedelta(hours=24)


def waits_until(failures: int, last_at: datetime, longest: timedelta) -> datetime:
    """Return when one more try is looked at, after so many failures of which the last was then."""
    if failures < FREE_FAILURES:
        return last_at
    # A wait of days is cut off below in any case, and one of centuries is more than a timedelta holds.
    doubled = min(failures - FREE_FAILURES, 20)
    return last_at + min(timedelta(seconds=2 << doubled), longest)
