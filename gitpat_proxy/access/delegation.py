"""What a token makes, edits or gives a new secret never does more, or lives longer, than itself."""

from collections.abc import Iterator
from datetime import datetime

from gitpat_proxy.access.model import Network, Token
from gitpat_proxy.access.representation import time_text
from gitpat_proxy.access.scopes import granted_by


def excess_of(made: Token, maker: Token) -> dict[str, str]:
    """Return in which of its facts `made` reaches further than `maker`, a sentence each.

    The keys are those of a token in JSON. Empty: in none.
    """
    return dict(_excesses(made, maker))


def earlier_end(made: Token, maker: Token) -> datetime | None:
    """Return when a token ends for which nobody said when: not after the one that made it."""
    return min((end for end in (made.expires_at, maker.expires_at) if end), default=None)


def _excesses(made: Token, maker: Token) -> Iterator[tuple[str, str]]:
    if more := granted_by(made.scopes) - granted_by(maker.scopes):
        yield "scopes", f"the token that asks does not have {', '.join(sorted(more))} itself"
    if maker.expires_at and (made.expires_at is None or made.expires_at > maker.expires_at):
        yield "expires", f"the token that asks ends on {time_text(maker.expires_at)} itself"
    if maker.addresses is not None and not _lie_within(made.addresses, maker.addresses):
        allowed = ", ".join(map(str, maker.addresses))
        yield "addresses", f"the token that asks may be used from {allowed} only"


def _lie_within(inner: tuple[Network, ...] | None, outer: tuple[Network, ...]) -> bool:
    return inner is not None and all(any(_is_subnet(i, o) for o in outer) for i in inner)


def _is_subnet(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version
