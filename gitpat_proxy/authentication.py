"""Whose token comes with a request: the same for Git and for the API."""

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from gitpat_proxy.access.address import Address
from gitpat_proxy.access.model import Account, Token
from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.access.secret import digest_of
from gitpat_proxy.git.credentials import CredentialsMalformedError, secret_of
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.throttle import Throttle


class Authentication:
    """Finds the token with the secret that was sent; an address may not guess too often."""

    def __init__(self, tokens: Tokens, throttle: Throttle) -> None:
        self._tokens = tokens
        self._throttle = throttle

    async def token_of(
        self, headers: CIMultiDictProxy[str], address: Address | None
    ) -> tuple[Token, Account]:
        """Return the token and its owner, whatever their state; raises RefusedError."""
        try:
            secret = secret_of(headers.getall(hdrs.AUTHORIZATION, ()))
        except CredentialsMalformedError:
            raise RefusedError(refuse(Code.CREDENTIALS_MALFORMED)) from None
        if secret is None:
            raise RefusedError(refuse(Code.CREDENTIALS_MISSING))
        found = await self._tokens.find(secret)
        if found is not None:
            return found
        if seconds := self._throttle.count_unknown(address, digest_of(secret)):
            raise RefusedError(refuse(Code.THROTTLED, address=address, retry_after=seconds))
        raise RefusedError(refuse(Code.TOKEN_UNKNOWN))
