"""What its owner decides about a token: from what is typed to what the token then has."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from gitpat_proxy.access.lifetime import beginning_of, expiry_of
from gitpat_proxy.access.model import Account, Network, Token
from gitpat_proxy.access.names import checked_text
from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.refs import RefRule, ref_rule_of
from gitpat_proxy.access.representation import address_texts, ref_texts, time_text
from gitpat_proxy.access.scopes import checked_scopes, scopes_of
from gitpat_proxy.config.model import TokenLifetimes
from gitpat_proxy.services.errors import FactsError

_ANY = "any"
_MOST = 100
"""So many patterns and networks are looked through for each request."""


@dataclass(frozen=True)
class TokenFacts:
    """What its owner decides about a token, as typed; None: not given.

    `expires` and `not_before` as the command line's options take them; `addresses` are networks. `any`,
    alone, takes a limit away.
    """

    name: str | None = None
    scopes: Sequence[str] | None = None
    expires: str | None = None
    not_before: str | None = None
    addresses: Sequence[str] | None = None
    repositories: Sequence[str] | None = None
    refs: Sequence[str] | None = None
    uses: str | int | None = None


@dataclass(frozen=True)
class TokenRules:
    """What the configuration allows: its own scopes, beside those built in, and how long tokens live."""

    catalogue: Mapping[str, str]
    lifetimes: TokenLifetimes

    def with_facts(self, token: Token, facts: TokenFacts, owner: Account, now: datetime) -> Token:
        """Return the token with what is given in place of what was; raises FactsError."""
        changes: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for fact, field, value, read in self._readings(facts, owner, now):
            try:
                if value is not None:
                    changes[field] = read(value)
            except ValueError as error:
                problems[fact] = str(error)
        if problems:
            raise FactsError(problems)
        if "uses" in changes:
            changes["uses_left"] = changes["uses"]
        changed = replace(token, **changes)
        if changed.not_before and changed.expires_at and changed.not_before >= changed.expires_at:
            raise FactsError({"expires": "the token would end before it begins to be valid"})
        return changed

    def _readings(
        self, facts: TokenFacts, owner: Account, now: datetime
    ) -> list[tuple[str, str, Any, Callable[[Any], object]]]:
        """Return for each fact its name, the token's field, what is given, and how that is read."""
        known = scopes_of(owner, self.catalogue)
        longest = self.lifetimes.longest_lifetime
        return [
            ("name", "name", facts.name, lambda text: checked_text(text, "a token's name")),
            ("scopes", "scopes", facts.scopes, lambda names: checked_scopes(names, known)),
            ("expires", "expires_at", facts.expires, lambda text: expiry_of(text, now, longest)),
            ("not_before", "not_before", facts.not_before, lambda text: beginning_of(text, now)),
            ("addresses", "addresses", facts.addresses, _listed(_networks)),
            ("repositories", "repositories", facts.repositories, _listed(_repositories)),
            ("refs", "refs", facts.refs, _listed(_refs)),
            ("uses", "uses", facts.uses, _uses),
        ]


def facts_of(token: Token) -> dict[str, object]:
    """Return what the audit keeps of a token's facts: plain JSON data."""
    return {
        "name": token.name,
        "scopes": sorted(token.scopes),
        "repositories": None if token.repositories is None else list(token.repositories),
        "refs": ref_texts(token),
        "addresses": address_texts(token),
        "uses": token.uses,
        "not_before": time_text(token.not_before),
        "expires_at": time_text(token.expires_at),
    }


def _listed(read: Callable[[Sequence[str]], object]) -> Callable[[Sequence[str]], object]:
    """Return what reads a list that limits; `any` alone takes the limit away."""

    def read_list(texts: Sequence[str]) -> object:
        if list(texts) == [_ANY]:
            return None
        if len(texts) > _MOST:
            raise ValueError(f"{len(texts)} are too many; accepted: {_MOST} at most, or any")
        return read(texts)

    return read_list


def _repositories(texts: Sequence[str]) -> tuple[str, ...]:
    return RepositoryPatterns(texts).texts


def _refs(texts: Sequence[str]) -> tuple[RefRule, ...]:
    if not texts:
        raise ValueError("no rule is given; accepted: rules as refs/heads/main=update, or any")
    return tuple(map(ref_rule_of, texts))


def _uses(given: str | int) -> int | None:
    """Read how many operations a token is for, from now on."""
    text = str(given)
    if text == _ANY:
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise ValueError(f"{text!r} is no number of uses; accepted: 1 to 999999999, or any")
    return int(text)


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    if not texts:
        raise ValueError("no network is given; accepted: networks as 192.0.2.0/24, or any")
    if any("%" in text for text in texts):
        raise ValueError("an address with a zone (%) names this machine's own network cards")
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise ValueError(f"{error}; accepted: networks as 192.0.2.0/24, or any") from None
