"""Entity tags: has somebody changed the token meanwhile (RFC 9110, sections 8.8.3 and 13.1)."""

import re

from gitpat_proxy.access.model import Token
from gitpat_proxy.access.representation import version_of

_TAG = re.compile(r'\s*(W/)?"([!#-~]*)"\s*')


def etag_of(token: Token) -> str:
    """Return the tag: another whenever somebody changes the token, the same when it is used."""
    return f'"{version_of(token)}"'


def has_match(header: str, token: Token, *, weak: bool) -> bool:
    """Tell whether the header names the token as it is; where it can't be read it does not."""
    if header.strip() == "*":
        return True
    found = [_TAG.fullmatch(part) for part in header.split(",")]
    return any(tag and tag[2] == version_of(token) and (weak or not tag[1]) for tag in found)
