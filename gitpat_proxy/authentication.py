"""Whose token comes with a request: the same for Git and for the API."""

from collections.abc import Sequence

from gitpat_proxy.access.address import Address
from gitpat_proxy.access.model import Account, Token
from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.access.secret import SentSecret
from gitpat_proxy.git.credentials import CredentialsMalformedError, secret_of
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.throttle import Throttle

_UNKNOWN = refuse(Code.TOKEN_UNKNOWN)


class Authentication:
    """Finds the token with the secret that was sent; an address may not guess too often."""

    def __init__(self, tokens: Tokens, throttle: Throttle) -> None:
        self._tokens = tokens
        self._throttle = throttle

    async def token_of(
        self, authorization: Sequence[str], address: Address | None
    ) -> tuple[Token, Account]:
        """Return the token and its owner, whatever their state; raises RefusedError.

        `authorization` are the values of all headers of that name.
        """
        sent = sent_secret(authorization)
        return self._known(await self._tokens.find_sent(sent), sent, address)

    def token_at_once(self, sent: SentSecret, address: Address | None) -> tuple[Token, Account]:
        """Return what `token_of` would; raises NotAtOnceError where that has to wait."""
        return self._known(self._tokens.find_at_once(sent), sent, address)

    def _known(
        self, found: tuple[Token, Account] | None, sent: SentSecret, address: Address | None
    ) -> tuple[Token, Account]:
        if found is not None:
            return found
        if seconds := self._throttle.count_unknown(address, sent.digest):
            raise RefusedError(refuse(Code.THROTTLED, address=address, retry_after=seconds))
        raise RefusedError(_UNKNOWN)


def sent_secret(authorization: Sequence[str]) -> SentSecret:
    """Return what came as the secret in all headers of that name; raises RefusedError."""
    try:
        secret = secret_of(authorization)
    except CredentialsMalformedError:
        raise RefusedError(refuse(Code.CREDENTIALS_MALFORMED)) from None
    if secret is None:
        raise RefusedError(refuse(Code.CREDENTIALS_MISSING))
    return SentSecret.of(secret)
