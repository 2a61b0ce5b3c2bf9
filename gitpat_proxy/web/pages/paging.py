"""Long lists, a page at a time."""

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

from gitpat_proxy.services.errors import NotFoundError

PER_PAGE = 50

Place = TypeVar("Place")


def page_start(cursor: str, read: Callable[[str], Place]) -> Place | None:
    """Return where the shown part of a list begins, None for its beginning; raises NotFoundError."""
    try:
        return read(cursor) if cursor else None
    except ValueError:
        raise NotFoundError("the list has no such place") from None


def address(path: str, filters: Mapping[str, str]) -> str:
    """Return a page's address with those of its filters that are set."""
    query = urlencode({name: value for name, value in filters.items() if value})
    return f"{path}?{query}" if query else path
