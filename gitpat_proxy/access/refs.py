"""Which refs may be changed, and how."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gitpat_proxy.access.patterns import pattern_of


class Verb(StrEnum):
    """What a push does to a ref. `force` is an update whose new commit does not follow the old one."""

    CREATE = "create"
    UPDATE = "update"
    FORCE = "force"
    DELETE = "delete"


ALL_VERBS = frozenset(Verb)
_DEFAULT = "create,update"
_NONE = "none"


@dataclass(frozen=True)
class RefRule:
    """What may be done to the refs whose full names match the pattern."""

    pattern: str
    verbs: frozenset[Verb]

    def __str__(self) -> str:
        """Return the rule as `ref_rule_of` reads it."""
        return f"{self.pattern}={','.join(verb for verb in Verb if verb in self.verbs) or _NONE}"

    def matches(self, ref: str) -> bool:
        return pattern_of(self.pattern).matches(ref)


def ref_rule_of(text: str) -> RefRule:
    """Read `PATTERN[=VERBS]`; raise ValueError with a sentence.

    No verbs are `create,update`; `none` denies. Whoever may `force` may `update`.
    """
    # A ref's name may have a "=", a verb has none.
    pattern, separator, verbs = text.rpartition("=")
    if not separator:
        pattern, verbs = text, _DEFAULT
    if not pattern.startswith(("refs/", "**")):
        raise ValueError(f"{pattern!r} is no full name of a ref; accepted: as refs/heads/main, or **")
    pattern_of(pattern)
    words = set() if verbs == _NONE else set(verbs.split(","))
    if unknown := words - set(Verb):
        accepted = ", ".join([*Verb, _NONE])
        raise ValueError(f"{', '.join(sorted(unknown))!r} is no verb for a ref; accepted: {accepted}")
    found = frozenset(map(Verb, words))
    return RefRule(pattern, found | {Verb.UPDATE} if Verb.FORCE in found else found)


def first_match(rules: Iterable[RefRule], ref: str) -> RefRule | None:
    """Return the rule that holds for the ref: the first that matches."""
    return next((rule for rule in rules if rule.matches(ref)), None)


def verb_of(old: str, new: str) -> Verb | None:
    """Return what a command does by its object names, None if it makes nothing of nothing.

    Whether an update is forced shows only in the history.
    """
    if not old.strip("0"):
        return Verb.CREATE if new.strip("0") else None
    return Verb.UPDATE if new.strip("0") else Verb.DELETE
