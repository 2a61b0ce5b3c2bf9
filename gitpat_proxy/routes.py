"""Which backend serves an address."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gitpat_proxy.access.push import RefProblem
from gitpat_proxy.backends.base import Backend
from gitpat_proxy.backends.http_backend import problem_on_disk
from gitpat_proxy.backends.ref_problems import no_problem, problem_of_route
from gitpat_proxy.config.model import RouteConfig


class Prefix(Protocol):
    """What begins with a URL prefix, in segments: a route, or how the configuration has it."""

    @property
    def segments(self) -> tuple[str, ...]: ...


Found = TypeVar("Found", bound=Prefix)


@dataclass(frozen=True)
class Route:
    """A URL prefix, in segments, and the backend of what lies under it."""

    segments: tuple[str, ...]
    backend: Backend
    dumb_protocol: bool


def route_for(routes: Sequence[Found], path: tuple[str, ...]) -> tuple[Found, tuple[str, ...]] | None:
    """Return the route with the longest prefix of whole segments, and the path below it.

    None: no route leads there, or nothing is left of the path for a repository.
    """
    fitting = [
        route
        for route in routes
        if len(route.segments) < len(path) and path[: len(route.segments)] == route.segments
    ]
    if not fitting:
        return None
    route = max(fitting, key=lambda route: len(route.segments))
    return route, path[len(route.segments) :]


def ref_problem(
    routes: Sequence[RouteConfig], path: tuple[str, ...], *, looks_on_disk: bool
) -> RefProblem:
    """Return what the backend of an address would tell of refs (Backend.ref_problem), without one."""
    found = route_for(routes, path)
    if found is None:
        return no_problem
    route, below = found
    if looks_on_disk and route.repositories is not None:
        return problem_on_disk(route.repositories.resolve(), below)
    return problem_of_route(route)
