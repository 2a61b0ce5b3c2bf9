"""What accounts may do, as the configuration says it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from gitpat_proxy.access.patterns import RepositoryPatterns, pattern_of
from gitpat_proxy.access.refs import RefRule
from gitpat_proxy.access.scopes import granted_by


@dataclass(frozen=True)
class AccessRule:
    """What some accounts may do with some repositories.

    `allow` is `code:read` or `code:write`; `refs` None: with `code:write` every ref may be changed in
    every way. `place` is where the rule stands, as `access.yaml:12`.
    """

    who: tuple[str, ...]
    repositories: RepositoryPatterns
    allow: str
    refs: tuple[RefRule, ...] | None
    place: str

    @cached_property
    def gives(self) -> frozenset[str]:
        """The scopes that come with `allow`."""
        return granted_by({self.allow})


@dataclass(frozen=True)
class AccessRules:
    """All rules; `groups` are names for lists of accounts. An account has what any rule gives it.

    The name of a group means its members alone, also where there is an account of that name: whoever
    can make accounts could otherwise join every group by its name.
    """

    rules: tuple[AccessRule, ...]
    groups: Mapping[str, tuple[str, ...]]

    def of_account(self, name: str) -> tuple[AccessRule, ...]:
        """Return the rules that hold for an account, in the order in which they stand."""
        groups = {group for group, members in self.groups.items() if _is_named(members, name)}
        return tuple(
            rule
            for rule in self.rules
            if not groups.isdisjoint(rule.who)
            or _is_named([who for who in rule.who if who not in self.groups], name)
        )

    def strangers(self, accounts: Iterable[str]) -> list[str]:
        """Return the names that rules and groups have for nobody among these accounts."""
        known = list(accounts)
        named = [*chain(*self.groups.values()), *chain(*(rule.who for rule in self.rules))]
        return [
            name
            for name in dict.fromkeys(named)
            if name not in self.groups and not any(_is_named([name], account) for account in known)
        ]


def _is_named(patterns: Iterable[str], account: str) -> bool:
    return any(pattern_of(pattern).matches(account) for pattern in patterns)
