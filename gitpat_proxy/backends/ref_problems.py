"""Why a ref can't be held to rules, as far as the route alone tells."""

from gitpat_proxy.access.push import Problem, RefProblem
from gitpat_proxy.config.model import RouteConfig


def problem_of_route(route: RouteConfig) -> RefProblem:
    """Return what tells it of the refs of every repository below the route."""
    if route.repositories is not None:
        return problem_of_folder
    return no_problem if route.upstream_protects_history else _problem_of_upstream(route.path)


def problem_of_folder(ref: bytes, only_forward: bool) -> Problem | None:
    """Only of branches git tells whether it is a fast-forward (receive.denyNonFastForwards)."""
    if only_forward and not ref.startswith(b"refs/heads/"):
        return Problem("git", "outside refs/heads/ every update counts as forced")
    return None


def no_problem(_ref: bytes, _only_forward: bool) -> None:
    """What a symbolic ref of an upstream stands for can't be seen from here."""


def _problem_of_upstream(path: str) -> RefProblem:
    rule = f"routes: {path}, upstream_protects_history"
    problem = Problem(rule, "this proxy can't tell whether it is a fast-forward")
    return lambda _ref, only_forward: problem if only_forward else None
