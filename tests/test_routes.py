"""The longest prefix of whole segments wins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gitpat_proxy.backends.base import Answer, Call, Finding
from gitpat_proxy.routes import Route, route_for


class Nowhere:
    """A backend that is never asked."""

    @asynccontextmanager
    async def serve(self, call: Call) -> AsyncIterator[Answer]:
        raise NotImplementedError
        yield

    async def check(self) -> Finding:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def segments(path: str) -> tuple[str, ...]:
    return tuple(segment for segment in path.split("/") if segment)


def routes(*prefixes: str) -> list[Route]:
    return [Route(segments(prefix), Nowhere(), dumb_protocol=False) for prefix in prefixes]


@pytest.mark.parametrize(
    ("prefixes", "path", "route", "below"),
    [
        (["/"], "app", "/", "app"),
        (["/"], "team/app", "/", "team/app"),
        (["/", "/team"], "team/app", "/team", "app"),
        (["/team", "/"], "team/app", "/team", "app"),
        (["/", "/team", "/team/inner"], "team/inner/app", "/team/inner", "app"),
        (["/team/inner", "/team", "/"], "team/other/app", "/team", "other/app"),
        # a prefix ends with a segment
        (["/", "/team"], "teams/app", "/", "teams/app"),
        (["/", "/team"], "team.git/app", "/", "team.git/app"),
        (["/team"], "tea/app", None, None),
        (["/team"], "x/team/app", None, None),
        (["/team"], "TEAM/app", None, None),
        # something has to be left for the repository
        (["/", "/team"], "team", "/", "team"),
        (["/team"], "team", None, None),
        (["/team/inner"], "team/app", None, None),
        ([], "app", None, None),
    ],
)
def test_which_route_and_which_path_below_it(
    prefixes: list[str], path: str, route: str | None, below: str | None
) -> None:
    table = routes(*prefixes)
    found = route_for(table, segments(path))
    if route is None:
        assert found is None
    else:
        assert found == (table[prefixes.index(route)], segments(below or ""))
