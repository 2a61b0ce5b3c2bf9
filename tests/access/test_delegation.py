"""What a token makes never does more, or lives longer, than itself."""

from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.delegation import excess_of
from gitpat_proxy.access.model import Network, Status, Token
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
