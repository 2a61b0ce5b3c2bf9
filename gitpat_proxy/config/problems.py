"""What can be wrong between keys that are each right. Every function returns all that it finds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from gitpat_proxy.access.lifetime import lifetime_of
from gitpat_proxy.config.model import AccessEntry, Config, RouteConfig, SignIn, TokenLifetimes
from gitpat_proxy.config.values import ListenAddress

Location: TypeAlias = tuple[str | int, ...]
Mistake: TypeAlias = tuple[Location, str]


def config_problems(config: Config) -> list[Mistake]:
    """Return what is wrong in a configuration whose keys are each right."""
    return [
        *_exposure_problems(config),
        *_lifetime_problems(config.tokens),
        *_sign_in_problems(config.sign_in),
        *_access_problems(config),
        *_routes_problems(config.routes),
        *(
            (("routes", index, *location), message)
            for index, route in enumerate(config.routes)
            for location, message in _route_problems(route)
        ),
    ]


def _exposure_problems(config: Config) -> Iterator[Mistake]:
    """A token must not cross a network in clear."""
    for address in config.listen:
        if problem := exposure_problem(config, address):
            yield ("listen",), problem


def exposure_problem(config: Config, address: ListenAddress) -> str | None:
    """Say what is wrong with listening there; None: nothing."""
    if config.tls or config.trusted_proxies or address.is_local:
        return None
    return (
        f"{address} is plain HTTP that others can reach: tokens would cross the network in clear; set "
        "tls, or name the TLS proxy in front in trusted_proxies, or listen on 127.0.0.1"
    )


def _lifetime_problems(tokens: TokenLifetimes) -> Iterator[Mistake]:
    default, longest = lifetime_of(tokens.default_lifetime), lifetime_of(tokens.longest_lifetime)
    if longest is not None and (default is None or default > longest):
        yield (
            ("tokens", "default_lifetime"),
            f"{tokens.default_lifetime} is longer than longest_lifetime ({tokens.longest_lifetime})",
        )


def _sign_in_problems(sign_in: SignIn) -> Iterator[Mistake]:
    if sign_in.header and not sign_in.header.from_:
        yield (
            ("sign_in", "header", "from"),
            "an empty list believes nobody; name the networks of the single-sign-on proxy",
        )
    if not sign_in.passwords and not sign_in.header:
        yield ("sign_in", "passwords"), "nobody could sign in; set it to true, or set header"


def _access_problems(config: Config) -> Iterator[Mistake]:
    if config.access_file:
        for key in ("groups", "access"):
            if getattr(config, key) is not None:
                yield (key,), "stands in the file that access_file names; give one of the two"
    elif config.groups and config.access is None:
        yield ("groups",), "has no effect without access; without it everybody reaches everything"
    yield from rule_problems(config.groups or {}, config.access or ())


def rule_problems(
    groups: Mapping[str, Sequence[str]], entries: Sequence[AccessEntry]
) -> Iterator[Mistake]:
    """Yield what is wrong between groups and rules that are each right."""
    for group, members in groups.items():
        for index, member in enumerate(members):
            if member in groups:
                yield (
                    ("groups", group, index),
                    f"{member} is a group, and groups have accounts only; name those, or both groups "
                    "in `who`",
                )
    for index, entry in enumerate(entries):
        if entry.refs is not None and entry.allow == "code:read":
            yield (
                ("access", index, "refs"),
                "has no effect: allow: code:read lets nobody push",
            )


def _routes_problems(routes: Sequence[RouteConfig]) -> Iterator[Mistake]:
    if not routes:
        yield ("routes",), "needs at least one route: without any, nothing is served"
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
