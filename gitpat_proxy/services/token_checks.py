"""What may not become of a token, and what one token may not do to another."""

from datetime import datetime

from gitpat_proxy.access.delegation import excess_of
from gitpat_proxy.access.model import MOST_GENERATIONS, Account, Status, Token, lineage
from gitpat_proxy.access.policy import decide_alive, grants_of, without_limit_of_uses
from gitpat_proxy.services.errors import FactsError, ForbiddenError, ServiceError

_DELEGATE = "tokens:delegate"
_COMPARED = (
    ("scopes", "scopes", "scopes"),
    ("expires", "expires_at", "end"),
    ("repositories", "repositories", "repositories"),
    ("refs", "refs", "refs"),
    ("addresses", "addresses", "addresses"),
    ("uses", "uses_left", "uses left"),
)
"""What tokens are compared in: its name, the field that an edit changes with it, and in words."""


def check_not_over(token: Token, now: datetime) -> None:
    """Raise ServiceError if the token has ended: nothing comes back to life."""
    over = {Status.EXPIRED, Status.REVOKED}
    if (status := without_limit_of_uses(token).status(now)) in over:
        raise ServiceError(f"the token {token.label} is {status} and stays so; create another one")
    if token.status(now) in over:
        raise ServiceError(f"the token {token.label} has no use left at the moment; create another one")


def check_not_undone(before: Token, after: Token, now: datetime) -> None:
    """Raise ServiceError if the token could be used and then could not yet: that would be an end."""
    if before.status(now) is Status.ACTIVE and after.status(now) is Status.PENDING:
        raise ServiceError(f"the token {before.label} is valid already; revoke it to end that")


def check_not_itself(token: Token, maker: Token | None) -> None:
    """Raise ForbiddenError if the token that asks is the one to be changed."""
    if maker is not None and maker.id == token.id:
        raise ForbiddenError("a token can't change itself")


def check_may_derive(parent: Token, owner: Account, now: datetime) -> None:
    """Raise ServiceError if no token can be derived from this one."""
    if refusal := decide_alive(parent, owner, now):
        raise ForbiddenError(refusal.sentence)
    if _DELEGATE not in grants_of(parent, owner):
        raise ForbiddenError(f"the token {parent.label} does not have the scope {_DELEGATE}")
    if len(list(lineage(parent))) == MOST_GENERATIONS:
        raise ForbiddenError(
            f"the token {parent.label} is the third of its line; from it no other is derived"
        )


def check_within_parent(before: Token, after: Token) -> None:
    """Raise FactsError if what is changed reaches further than the token it was derived from.

    That one may have become narrower since, or have fewer uses left: what stays as it was may stay.
    """
    if after.parent is None:
        return
    excess = excess_of(after, after.parent)
    problems = {
        fact: f"it would go beyond the {word} of the token {after.parent.label}, which it was derived"
        " from; change that one first"
        for fact, field, word in _COMPARED
        if fact in excess and getattr(before, field) != getattr(after, field)
    }
    if problems:
        raise FactsError(problems)


def check_within(token: Token, maker: Token | None) -> None:
    """Raise ForbiddenError if the token reaches further than the one that asks."""
    if maker is not None and (excess := excess_of(token, maker)):
        raise ForbiddenError("; ".join(excess.values()))
