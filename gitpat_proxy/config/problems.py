"""What can be wrong between keys that are each right. Every function returns all that it finds."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from gitpat_proxy.access.lifetime import lifetime_of
from gitpat_proxy.access.scopes import catalogue_problem
from gitpat_proxy.config.model import Config, RouteConfig, Tls, TokenLifetimes

Location: TypeAlias = tuple[str | int, ...]
Mistake: TypeAlias = tuple[Location, str]


def config_problems(config: Config) -> list[Mistake]:
    """Return what is wrong in a configuration whose keys are each right."""
    return [
        *_exposure_problems(config),
        *_scope_problems(config),
        *_lifetime_problems(config.tokens),
        *_duplicate_routes(config.routes),
        *(
            (("routes", index, *location), message)
            for index, route in enumerate(config.routes)
            for location, message in _route_problems(route)
        ),
        *_tls_problems(config.tls),
    ]


def _exposure_problems(config: Config) -> Iterator[Mistake]:
    """A token must not cross a network in clear."""
    if config.tls or config.trusted_proxies:
        return
    for address in config.listen:
        if not address.is_local:
            yield (
                ("listen",),
                f"{address} is plain HTTP that others can reach: tokens would cross the network in "
                "clear; set tls, or name the TLS proxy in front in trusted_proxies, or listen on "
                "127.0.0.1",
            )


def _scope_problems(config: Config) -> Iterator[Mistake]:
    for name, description in config.scopes.items():
        if problem := catalogue_problem(name):
            yield ("scopes", name), problem
        if not description.strip():
            yield ("scopes", name), "the description is empty; it is shown to people"


def _lifetime_problems(tokens: TokenLifetimes) -> Iterator[Mistake]:
    lifetimes: dict[str, timedelta | None] = {}
    for key in ("default_lifetime", "longest_lifetime"):
        try:
            lifetimes[key] = lifetime_of(getattr(tokens, key))
        except ValueError as error:
            yield ("tokens", key), str(error)
    if len(lifetimes) == 2:
        default, longest = lifetimes["default_lifetime"], lifetimes["longest_lifetime"]
        if longest is not None and (default is None or default > longest):
            yield (
                ("tokens", "default_lifetime"),
                f"{tokens.default_lifetime} is longer than longest_lifetime ({tokens.longest_lifetime})",
            )


def _duplicate_routes(routes: Iterable[RouteConfig]) -> Iterator[Mistake]:
    seen: dict[str, int] = {}
    for index, route in enumerate(routes):
        if route.path in seen:
            yield (
                ("routes", index, "path"),
                f"{route.path} is the path of routes[{seen[route.path]}] already",
            )
        seen.setdefault(route.path, index)


def _route_problems(route: RouteConfig) -> Iterator[Mistake]:
    if (route.repositories is None) == (route.upstream is None):
        yield (), "needs one of repositories (a folder) and upstream (an address), and not both"
    if route.repositories and not route.repositories.is_dir():
        yield ("repositories",), f"{route.repositories} is not a folder"
    yield from _upstream_problems(route)


def _upstream_problems(route: RouteConfig) -> Iterator[Mistake]:
    upstream_keys = [
        key for key in route.model_fields_set if key.startswith("upstream_") and getattr(route, key)
    ]
    if not route.upstream:
        for key in sorted(upstream_keys):
            yield (key,), "has no effect without upstream"
        return
    passwords = [key for key in upstream_keys if key.startswith("upstream_password")]
    if len(passwords) > 1:
        yield ("upstream_password_env",), "give this or upstream_password_file, not both"
    if passwords and not route.upstream_username:
        yield (passwords[0],), "needs upstream_username beside it"
    if route.upstream_username and not passwords:
        yield (
            ("upstream_username",),
            "needs upstream_password_file or upstream_password_env beside it",
        )
    if len(passwords) == 1:
        yield from _password_problems(route, passwords[0])
    if route.upstream_ca_file:
        yield from _file_problems("upstream_ca_file", route.upstream_ca_file)


def _password_problems(route: RouteConfig, key: str) -> Iterator[Mistake]:
    try:
        if not route.read_upstream_password():
            yield (key,), "the password there is empty"
    except KeyError as error:
        yield (key,), f"there is no environment variable {error.args[0]}"
    except (OSError, UnicodeError) as error:
        yield (key,), f"can't be read: {error}"


def _tls_problems(tls: Tls | None) -> Iterator[Mistake]:
    for key in ("certificate", "key") if tls else ():
        for location, message in _file_problems(key, getattr(tls, key)):
            yield ("tls", *location), message


def _file_problems(key: str, path: Path) -> Iterator[Mistake]:
    try:
        path.open("rb").close()
    except OSError as error:
        yield (key,), f"can't be read: {error}"
