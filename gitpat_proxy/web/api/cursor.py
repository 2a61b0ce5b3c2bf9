"""Where a list of the API goes on."""

from collections.abc import Callable
from typing import TypeVar

from gitpat_proxy.web.api.problem import invalid

Place = TypeVar("Place")


def place_of(cursor: str | None, read: Callable[[str], Place]) -> Place | None:
    """Read a cursor; None: a list begins. Raises ProblemError."""
    try:
        return read(cursor) if cursor else None
    except ValueError:
        raise invalid({"cursor": "the cursor is none that this list gave"}, status=400) from None
