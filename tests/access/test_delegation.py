"""What a token makes never does more, or lives longer, than itself."""

from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.delegation import child_of, excess_of
from gitpat_proxy.access.model import Network, Status, Token
from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.refs import RefRule, Verb, first_match, ref_rule_of
from gitpat_proxy.access.scopes import granted_by
from tests.access.examples import NOW, a_token

HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


def scopes(*names: str) -> dict[str, Any]:
    return {"scopes": frozenset(names)}


INNER = networks("10.0.0.0/8")


@pytest.mark.parametrize(
    ("made", "maker"),
    [
        ({}, {}),
        (scopes("code:read"), scopes("code:write")),
        (scopes("code:read", "code:write"), scopes("code:write")),
        (scopes("tokens:read"), scopes("tokens:write", "code:read")),
        (scopes("wiki"), scopes("tokens:write", "wiki")),
        ({"expires_at": NOW}, {"expires_at": NOW}),
        ({"expires_at": NOW - TICK}, {"expires_at": NOW}),
        ({"expires_at": NOW}, {}),
        ({"addresses": INNER}, {}),
        ({"addresses": ()}, {"addresses": INNER}),
        ({"addresses": ()}, {"addresses": ()}),
        ({"addresses": INNER}, {"addresses": INNER}),
        ({"addresses": networks("10.1.0.0/16", "10.2.3.4")}, {"addresses": INNER}),
        (
            {"addresses": networks("10.1.0.0/16", "2001:db8:1::/48")},
            {"addresses": networks("2001:db8::/32", "10.0.0.0/8")},
        ),
        # what else a token is matters not
        ({"name": "Other", "not_before": NOW, "id": "x"}, {"not_before": NOW + HOUR}),
    ],
)
def test_what_is_within(made: dict[str, Any], maker: dict[str, Any]) -> None:
    assert excess_of(a_token(**made), a_token(**maker)) == {}


@pytest.mark.parametrize(
    ("made", "maker", "excess"),
    [
        (scopes("code:write"), scopes("code:read"), {"scopes": "code:write"}),
        (scopes("b", "a", "code:read"), scopes("code:read"), {"scopes": "a, b"}),
        (scopes("admin"), scopes("tokens:write"), {"scopes": "admin"}),
        (scopes("tokens:write"), scopes("admin"), {"scopes": "tokens:read, tokens:write"}),
        (scopes("code"), scopes("code:write"), {"scopes": "code"}),
        ({"expires_at": None}, {"expires_at": NOW}, {"expires": "2026-03-14T15:09:26Z"}),
        ({"expires_at": NOW + TICK}, {"expires_at": NOW}, {"expires": "2026-03-14T15:09:26Z"}),
        ({}, {"addresses": INNER}, {"addresses": "10.0.0.0/8"}),
        ({}, {"addresses": ()}, {"addresses": ""}),
        ({"addresses": INNER}, {"addresses": ()}, {"addresses": ""}),
        ({"addresses": networks("10.0.0.0/7")}, {"addresses": INNER}, {"addresses": "10.0.0.0/8"}),
        ({"addresses": networks("0.0.0.0/0")}, {"addresses": INNER}, {"addresses": "10.0.0.0/8"}),
        ({"addresses": networks("11.0.0.0/8")}, {"addresses": INNER}, {"addresses": "10.0.0.0/8"}),
        ({"addresses": networks("::/0")}, {"addresses": INNER}, {"addresses": "10.0.0.0/8"}),
        ({"addresses": networks("10.0.0.1", "::1")}, {"addresses": INNER}, {"addresses": "10.0.0.0/8"}),
        (
            {"addresses": networks("10.0.0.0/8")},
            {"addresses": networks("::/0", "192.0.2.0/24")},
            {"addresses": "::/0, 192.0.2.0/24"},
        ),
        (
            {**scopes("wiki"), "expires_at": NOW + HOUR},
            {"addresses": INNER, "expires_at": NOW},
            {"scopes": "wiki", "expires": "2026", "addresses": "10.0.0.0/8"},
        ),
    ],
)
def test_what_reaches_further_is_told_for_each_fact(
    made: dict[str, Any], maker: dict[str, Any], excess: dict[str, str]
) -> None:
    found = excess_of(a_token(**made), a_token(**maker))
    assert found.keys() == excess.keys()
    for fact, named in excess.items():
        assert named in found[fact]
        assert found[fact].startswith("the token that asks ")


TIMES = st.none() | st.sampled_from([NOW - TICK, NOW, NOW + TICK, NOW + HOUR])
NETWORKS = st.none() | st.lists(
    st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/1", "::1/128", "::/0"])
).map(lambda texts: networks(*texts))
SCOPES = st.frozensets(
    st.sampled_from(["code:read", "code:write", "tokens:read", "tokens:write", "admin", "wiki"])
)
TOKENS = st.builds(
    lambda scopes, expires_at, addresses: a_token(
        scopes=scopes, expires_at=expires_at, addresses=addresses
    ),
    *(SCOPES, TIMES, NETWORKS),
)
ADDRESSES = [ip_address(text) for text in ("10.1.2.3", "10.1.9.9", "10.9.9.9", "9.9.9.9", "::1", "::2")]


def reach(token: Token) -> set[object]:
    """Return all that the token opens: which scope, from which address, when."""
    alive = [at for at in (NOW - TICK, NOW, NOW + HOUR) if token.status(at) is Status.ACTIVE]
    opened = [
        address
        for address in ADDRESSES
        if token.addresses is None or any(address in network for network in token.addresses)
    ]
    return {(s, a, t) for s in granted_by(token.scopes) for a in opened for t in alive}


@given(TOKENS, TOKENS)
def test_what_does_not_exceed_opens_nothing_that_its_maker_does_not(made: Token, maker: Token) -> None:
    if not excess_of(made, maker):
        assert reach(made) <= reach(maker)
        assert maker.expires_at is None or (made.expires_at and made.expires_at <= maker.expires_at)


@given(TOKENS, TOKENS, TOKENS)
def test_what_a_made_token_makes_is_within_the_first(first: Token, second: Token, third: Token) -> None:
    assert excess_of(first, first) == {}
    if not excess_of(second, first) and not excess_of(third, second):
        assert excess_of(third, first) == {}


def reaches(*patterns: str) -> dict[str, Any]:
    return {"repositories": patterns}


def changes(*rules: str) -> dict[str, Any]:
    return {"refs": tuple(map(ref_rule_of, rules))}


TEAM = ("team/**", "!team/secret")
MAIN = ("refs/heads/main=update", "refs/heads/**=create,update,force,delete", "refs/tags/v*=create")


@pytest.mark.parametrize(
    ("made", "maker"),
    [
        (reaches("team/app"), {}),
        (reaches("team/app"), reaches(*TEAM)),
        (reaches("team/app", "team/web/*"), reaches(*TEAM)),
        (reaches("team/**", "!team/secret"), reaches(*TEAM)),
        (reaches("team/**", "!team/s*"), reaches(*TEAM)),
        (reaches("team/web/**"), reaches(*TEAM)),
        (reaches("b", "a"), reaches("a", "b")),
        (changes("refs/heads/main"), {}),
        (changes(*MAIN), changes(*MAIN)),
        (changes("refs/heads/main=update"), changes(*MAIN)),
        (changes("refs/heads/agent/**=create,force"), changes(*MAIN)),
        (changes("refs/heads/main=none", "refs/heads/**=delete"), changes(*MAIN)),
        (changes("refs/tags/v1=create"), changes(*MAIN)),
        (changes("refs/heads/**=none"), changes("refs/heads/x=update")),
        (changes("refs/heads/*=update"), changes(*MAIN)),
    ],
)
def test_patterns_that_are_within(made: dict[str, Any], maker: dict[str, Any]) -> None:
    assert excess_of(a_token(**made), a_token(**maker)) == {}


@pytest.mark.parametrize(
    ("made", "maker"),
    [
        ({}, reaches("**")),
        (reaches("**"), reaches(*TEAM)),
        (reaches("other/app"), reaches(*TEAM)),
        (reaches("team/app", "other"), reaches(*TEAM)),
        (reaches("team/secret"), reaches(*TEAM)),
        (reaches("team/**"), reaches(*TEAM)),
        (reaches("team/*"), reaches(*TEAM)),
        (reaches("team/**", "!team/app"), reaches(*TEAM)),
        # An exclusion holds for upper and lower case.
        (reaches("team/Secret"), reaches(*TEAM)),
        (reaches("team/S*"), reaches(*TEAM)),
    ],
)
def test_repositories_that_reach_further(made: dict[str, Any], maker: dict[str, Any]) -> None:
    excess = excess_of(a_token(**made), a_token(**maker))
    assert list(excess) == ["repositories"]
    assert excess["repositories"].endswith(", ".join(maker["repositories"]))


@pytest.mark.parametrize(
    "made",
    [
        {},
        changes("refs/heads/main=force"),
        changes("refs/heads/main=delete"),
        changes("refs/heads/**=create,update,force"),
        changes("refs/heads/m*=delete"),
        changes("**=create"),
        changes("refs/notes/x=create"),
        changes("refs/tags/v1=update"),
        changes("refs/heads/other=none", "refs/heads/**=delete"),
        # What comes behind does not take it away.
        changes("refs/heads/**=delete", "refs/heads/main=none"),
    ],
)
def test_refs_that_reach_further(made: dict[str, Any]) -> None:
    excess = excess_of(a_token(**made), a_token(**changes(*MAIN)))
    assert list(excess) == ["refs"]
    assert "refs/heads/main=update, refs/heads/**=create,update,force,delete" in excess["refs"]


rules = st.builds(
    lambda pattern, verbs: RefRule(pattern, frozenset(verbs)),
    st.sampled_from(["**", "a/**", "a/*", "a/b", "a/b*", "*/b", "b", "b/**", "a/**/b"]),
    st.sets(st.sampled_from(list(Verb))),
)


@given(st.lists(rules, max_size=4), st.lists(rules, max_size=4))
def test_no_ref_may_be_changed_that_the_maker_may_not(made: list[RefRule], maker: list[RefRule]) -> None:
    if excess_of(a_token(refs=tuple(made)), a_token(refs=tuple(maker))):
        return
    for ref in ["a/b", "a/bc", "a/c", "a/b/b", "a/c/b", "b", "b/b", "c", "b/a"]:
        rule, above = first_match(made, ref), first_match(maker, ref)
        assert (rule.verbs if rule else set()) <= (above.verbs if above else set())


patterns = st.lists(
    st.sampled_from(
        [
            *["**", "a/**", "a/*", "a/b", "A/b", "A/**", "a/B", "b", "B", "b/**"],
            *["!a/b", "!A/B", "!a/**", "!*/b", "!b", "!a/c"],
        ]
    ),
    min_size=1,
    max_size=4,
).filter(lambda texts: not all(text.startswith("!") for text in texts))


@given(patterns, patterns)
def test_no_repository_is_reached_that_the_maker_does_not_reach(
    made: list[str], maker: list[str]
) -> None:
    if excess_of(a_token(**reaches(*made)), a_token(**reaches(*maker))):
        return
    for name in ["a", "a/b", "a/c", "a/b/c", "b", "b/b", "b/a", "c", "A/b", "a/B", "A/B", "B", "A/c"]:
        assert not RepositoryPatterns(made).include(name) or RepositoryPatterns(maker).include(name)


def test_a_count_of_uses_is_shared_with_derived_tokens_alone() -> None:
    maker = a_token(id="maker", uses=5, uses_left=3)
    assert list(excess_of(a_token(uses=1), maker)) == ["uses"]
    child = a_token(parent=maker, uses=3)
    assert excess_of(child, maker) == {}
    more = excess_of(a_token(parent=maker, uses=4), maker)
    assert more == {"uses": "the token that asks may be used 3 more times itself"}
    assert list(excess_of(a_token(parent=maker), maker)) == ["uses"]


def test_a_derived_token_makes_none_that_would_outlive_what_it_comes_from() -> None:
    child = a_token(id="child", parent=a_token(id="parent"))
    assert list(excess_of(a_token(), child)) == ["parent"]
    assert excess_of(a_token(parent=child), child) == {}


def test_a_derived_token_begins_with_all_limits() -> None:
    parent = a_token(
        id="parent", uses=5, uses_left=3, addresses=INNER, **reaches(*TEAM), **changes(*MAIN)
    )
    child = child_of(parent, a_token())
    assert child.parent == parent
    assert excess_of(child, parent) == {}
