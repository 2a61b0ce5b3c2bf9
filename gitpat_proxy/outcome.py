"""How the outcome of Git's requests is told: to the client by headers and a sentence, to the log."""

import random
from collections.abc import Mapping

from aiohttp import hdrs

from gitpat_proxy.access.model import Token
from gitpat_proxy.access.refusal import Refusal
from gitpat_proxy.access.secret import without_secrets
from gitpat_proxy.git.operation import Operation

_CHALLENGE = 'Basic realm="Git, with a personal access token as the password", charset="UTF-8"'

# A file of a repository, or of an upstream, is nothing to show, let alone to run beside the pages.
_FOR_BROWSERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


def make_request_id() -> str:
    """Return a new request's id; it opens nothing, so that it may be guessed."""
    return f"{random.getrandbits(48):012x}"


def own_headers(request_id: str, token_ends: str | None) -> dict[str, str]:
    """Return the headers that every answer has; `token_ends`: when the token does, if that is near."""
    ends = {"X-Token-Expires": token_ends} if token_ends else {}
    return {"X-Request-Id": request_id} | _FOR_BROWSERS | ends


def refusal_headers(refusal: Refusal) -> dict[str, str]:
    """Return the headers by which a program knows what to do about a refusal."""
    headers: dict[str, str] = {}
    if refusal.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(refusal.retry_after)
    if refusal.allow:
        headers[hdrs.ALLOW] = refusal.allow
    if refusal.challenges:
        headers[hdrs.WWW_AUTHENTICATE] = _CHALLENGE
    return headers


def refusal_line(refusal: Refusal, request_id: str) -> str:
    """Return the sentence that git shows to the person."""
    # A secret that somebody typed into the address would be in the repository's name.
    return without_secrets(f"{refusal.sentence} (request {request_id})")


def refusal_text(refusal: Refusal, request_id: str, public_url: str) -> str:
    """Return the body: the sentence, and the page where the person can do something about it."""
    link = f"Go to {public_url}{refusal.page}\n" if refusal.page else ""
    return f"{refusal_line(refusal, request_id)}\n{link}"


def request_facts(
    sender: Mapping[str, object],
    operation: Operation | None,
    token: Token | None,
    outcome: Mapping[str, object],
) -> dict[str, object]:
    """Return what a request's one line says: who sent it, what was asked for, and what came of it.

    Its form is stable: fail2ban's filter (packaging/fail2ban) reads it key by key, in this order.
    """
    asked = {
        "account": token and token.account,
        "token": token and token.id,
        "repository": operation and operation.repository,
        "service": operation and operation.service,
        "kind": operation and operation.kind,
    }
    return {**sender, **asked, **outcome}
