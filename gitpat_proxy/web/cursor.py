"""Where a list goes on: a time and an id, as a text that nobody needs to understand."""

import base64
import binascii
from datetime import datetime

from gitpat_proxy.access.moment import microseconds_of, moment_of

_LARGEST_ROW_ID = 2**63 - 1
"""SQLite has no larger one, and fails where it is asked for one."""


def cursor_text(at: datetime, row_id: str | int) -> str:
    """Return the cursor of the last row that was shown."""
    return base64.urlsafe_b64encode(f"{microseconds_of(at)} {row_id}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[datetime, str]:
    """Return what `cursor_text` was given; raise ValueError if it is none of its texts."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        words = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split(" ")
        microseconds, row_id = words
        return moment_of(int(microseconds)), row_id
    except (binascii.Error, UnicodeError, ValueError, OverflowError):
        raise ValueError("no cursor of this list") from None


def read_row_cursor(text: str) -> tuple[datetime, int]:
    """Return what `cursor_text` was given for a row whose id is a number; raise ValueError."""
    at, row_id = read_cursor(text)
    if not (row_id.isascii() and row_id.isdigit()) or int(row_id) > _LARGEST_ROW_ID:
        raise ValueError("no cursor of this list")
    return at, int(row_id)
