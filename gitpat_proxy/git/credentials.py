"""The secret in a request's Authorization header."""

import base64
import binascii
import re
from collections.abc import Sequence

_SCHEME = re.compile(r"(?P<scheme>[!#$%&'*+.^_`|~0-9A-Za-z-]+) +(?P<token68>[A-Za-z0-9._~+/-]+=*)")


class CredentialsMalformedError(ValueError):
    """The header is none of the two forms that are accepted, or there are several."""


def secret_of(authorization: Sequence[str]) -> str | None:
    """Take the values of all Authorization headers; return the secret, None where none was sent.

    Basic (RFC 7617): the password, whatever the username. Bearer (RFC 6750, section 2.1): the token.
    Raises CredentialsMalformedError for anything else.
    """
    if not authorization:
        return None
    match = _SCHEME.fullmatch(authorization[0].strip(" \t"))
    if len(authorization) > 1 or not match:
        raise CredentialsMalformedError
    scheme, token68 = match["scheme"].lower(), match["token68"]
    if scheme == "bearer":
        return token68
    if scheme == "basic":
        return _password(token68)
    raise CredentialsMalformedError


def _password(token68: str) -> str | None:
    """Split before anything is decoded: clients send usernames in UTF-8 and in Latin-1 (RFC 7617,
    section 2, lets them), and nobody looks at them.
    """
    if len(token68) % 4:
        # Python lets more "=" pass than belong there.
        raise CredentialsMalformedError
    try:
        user_pass = base64.b64decode(token68, validate=True)
    except binascii.Error:
        raise CredentialsMalformedError from None
    _, colon, password = user_pass.partition(b":")
    if not colon:
        raise CredentialsMalformedError
    return password.decode("latin-1") or None
