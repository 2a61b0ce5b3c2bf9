"""Once expired, always expired: also where the clock is put back."""

from dataclasses import replace
from datetime import datetime

from gitpat_proxy.access.model import Clock, Token


class Expiry:
    """Remembers which tokens were seen expired, as long as the process runs (docs/decisions/0013).

    With their ends: somebody who gives a token a later one, where the clock had been wrong, means it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: set[tuple[str, datetime]] = set()

    def judged(self, token: Token) -> Token:
        """Return the token and those it was derived from, marked if expired or once seen so.

        The very same where there is nothing to be marked.
        """
        parent = token.parent and self.judged(token.parent)
        if parent is not token.parent:
            token = replace(token, parent=parent)
        if token.expires_at is None:
            return token
        end = token.id, token.expires_at
        if self._clock() >= token.expires_at:
            self._seen.add(end)
        return replace(token, was_expired=True) if end in self._seen else token
