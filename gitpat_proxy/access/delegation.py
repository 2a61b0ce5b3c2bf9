"""What a token makes, edits or gives a new secret never does more, or lives longer, than itself.

Of patterns it is only said that they reach no further where that is sure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from gitpat_proxy.access.model import Network, Token
from gitpat_proxy.access.patterns import are_apart, covers
from gitpat_proxy.access.refs import RefRule
from gitpat_proxy.access.representation import ref_texts, time_text
from gitpat_proxy.access.scopes import granted_by


def excess_of(made: Token, maker: Token) -> dict[str, str]:
    """Return in which of its facts `made` reaches further than `maker`, a sentence each.

    The keys are those of a token in JSON. Empty: in none.
    """
    return dict(_excesses(made, maker))


def child_of(parent: Token, token: Token) -> Token:
    """Return the token as one that is derived from the other, with all its limits."""
    return replace(
        token,
        parent=parent,
        repositories=parent.repositories,
        refs=parent.refs,
        addresses=parent.addresses,
        uses=parent.uses_left,
        uses_left=parent.uses_left,
    )


def earlier_end(made: Token, maker: Token) -> datetime | None:
    """Return when a token ends for which nobody said when: not after the one that made it."""
    return min((end for end in (made.expires_at, maker.expires_at) if end), default=None)


def _excesses(made: Token, maker: Token) -> Iterator[tuple[str, str]]:
    is_child = made.parent is not None and made.parent.id == maker.id
    if maker.parent is not None and not is_child:
        # It would outlive those that the maker was derived from.
        yield "parent", "the token that asks is a derived one; it can only derive others from itself"
    if more := granted_by(made.scopes) - granted_by(maker.scopes):
        yield "scopes", f"the token that asks does not have {', '.join(sorted(more))} itself"
    if maker.expires_at and (made.expires_at is None or made.expires_at > maker.expires_at):
        yield "expires", f"the token that asks ends on {time_text(maker.expires_at)} itself"
    if maker.repositories is not None and not _reaches_only(made.repositories, maker.repositories):
        allowed = ", ".join(maker.repositories)
        yield "repositories", f"the token that asks is limited to the repositories {allowed}"
    if maker.refs is not None and not _changes_only(made.refs, maker.refs):
        allowed = ", ".join(ref_texts(maker) or ())
        yield "refs", f"the token that asks is limited to the refs {allowed}"
    if maker.addresses is not None and not _lie_within(made.addresses, maker.addresses):
        allowed = ", ".join(map(str, maker.addresses))
        yield "addresses", f"the token that asks may be used from {allowed} only"
    if maker.uses_left is not None and not is_child:
        # What is not derived has a count of its own.
        yield "uses", "the token that asks may be used a number of times only; derive one from it"
    elif maker.uses_left is not None and (made.uses is None or made.uses > maker.uses_left):
        yield "uses", f"the token that asks may be used {maker.uses_left} more times itself"


def _reaches_only(inner: Sequence[str] | None, outer: Sequence[str]) -> bool:
    """Tell whether each pattern that includes is within one of the others, and all exclusions hold."""
    if inner is None:
        return False
    included, without = _sorted(inner)
    outer_included, outer_without = _sorted(outer)
    if not all(any(covers(o, i) for o in outer_included) for i in included):
        return False
    # Exclusions hold for upper and lower case.
    included, without, outer_without = (
        [text.casefold() for text in texts] for texts in (included, without, outer_without)
    )
    return all(
        any(covers(w, o) for w in without) or all(are_apart(i, o) for i in included)
        for o in outer_without
    )


def _sorted(patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the patterns that include, and those that exclude without their sign."""
    included = [text for text in patterns if not text.startswith("!")]
    return included, [text[1:] for text in patterns if text.startswith("!")]


def _changes_only(inner: Sequence[RefRule] | None, outer: Sequence[RefRule]) -> bool:
    if inner is None:
        return False
    return all(_is_within(rule, inner[:place], outer) for place, rule in enumerate(inner))


def _is_within(rule: RefRule, before: Sequence[RefRule], outer: Sequence[RefRule]) -> bool:
    """Tell whether what a rule allows is allowed by the first of the others that matches.

    `before` are the rules that come before it: what they match is not the rule's to decide.
    """
    if not rule.verbs:
        return True
    for other in outer:
        if rule.verbs <= other.verbs:
            if covers(other.pattern, rule.pattern):
                return True
        elif not (
            are_apart(rule.pattern, other.pattern)
            or any(covers(earlier.pattern, other.pattern) for earlier in before)
        ):
            return False
    return False


def _lie_within(inner: tuple[Network, ...] | None, outer: tuple[Network, ...]) -> bool:
    return inner is not None and all(any(_is_subnet(i, o) for o in outer) for i in inner)


def _is_subnet(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version
