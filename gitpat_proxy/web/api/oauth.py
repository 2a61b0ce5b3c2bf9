"""What OAuth knows of a token: what it is worth (RFC 7662), and its end (RFC 7009)."""

from ipaddress import ip_address

from gitpat_proxy.access.model import Account, Author, Token, lineage
from gitpat_proxy.access.policy import decide_admission
from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.web.api import answers, models
from gitpat_proxy.web.api.call import Answer, Call, Caller


async def introspect(call: Call[models.Nothing, models.Nothing, models.IntrospectionForm]) -> Answer:
    """Tell a service what a secret that was shown to it is worth."""
    shown_from = call.body.client_address
    # A file that holds it ends with a line's end.
    found = await call.parts.tokens.find(call.body.token.strip())
    address = ip_address(shown_from) if shown_from else None
    if found is None or decide_admission(*found, address, call.now):
        return Answer(200, answers.Introspection(active=False))
    call.parts.recorder.use(found[0].id, call.now, shown_from or call.address)
    return Answer(200, _worth(*found))


async def revoke(call: Call[models.Nothing, models.Nothing, models.RevocationForm]) -> Answer:
    """End the token with this secret: to have the secret is the right to end it.

    The answer is the same whether there is such a token or not; so is what is counted.
    """
    if seconds := call.parts.throttle.count_found(call.client):
        raise RefusedError(refuse(Code.THROTTLED, address=call.address, retry_after=seconds))
    by = Author("somebody who had it", call.address, call.request_id)
    await call.parts.tokens.revoke_found(call.body.token.strip(), None, by=by)
    return Answer(200, answers.Done())


def _worth(token: Token, account: Account) -> answers.Introspection:
    """What does not hold is left out: RFC 7662 knows no null."""
    beginnings = [each.not_before for each in lineage(token) if each.not_before]
    times = {
        "iat": token.created_at,
        "nbf": max(beginnings, default=None),
        "exp": token.ends_at,
    }
    return answers.Introspection(
        active=True,
        scope=" ".join(sorted(Caller(account, token).grants)),
        username=account.name,
        sub=account.name,
        token_type="Bearer",  # noqa: S106 - a kind of token, and none
        jti=token.id,
        **{name: int(at.timestamp()) for name, at in times.items() if at},
    )
