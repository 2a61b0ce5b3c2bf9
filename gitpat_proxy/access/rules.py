"""What accounts may do, as the configuration says it."""

from collections.abc import Mapping
from dataclasses import dataclass

from gitpat_proxy.access.patterns import RepositoryPatterns, pattern_of
from gitpat_proxy.access.refs import RefRule


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


@dataclass(frozen=True)
class AccessRules:
    """All rules; `groups` are names for lists of accounts. An account has what any rule gives it."""

    rules: tuple[AccessRule, ...]
    groups: Mapping[str, tuple[str, ...]]

    def of_account(self, name: str) -> tuple[AccessRule, ...]:
        """Return the rules that hold for an account, in the order in which they stand."""
        groups = {group for group, members in self.groups.items() if _names(members, name)}
        return tuple(rule for rule in self.rules if _names(rule.who, name) or groups & set(rule.who))


def _names(patterns: tuple[str, ...], account: str) -> bool:
    return any(pattern_of(pattern).matches(account) for pattern in patterns)
