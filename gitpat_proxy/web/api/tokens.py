"""The life of a token, over the API."""

import json

from gitpat_proxy.access.explanation import explanation_object
from gitpat_proxy.access.model import Token, TokenQuery
from gitpat_proxy.access.representation import token_object, version_of
from gitpat_proxy.services.errors import ConflictError, FactsError
from gitpat_proxy.services.explanations import OperationAsked
from gitpat_proxy.services.token_facts import TokenFacts
from gitpat_proxy.services.tokens import OnceRequest
from gitpat_proxy.web.api import answers, models
from gitpat_proxy.web.api.call import Answer, AnyCall, Call
from gitpat_proxy.web.api.cursor import place_of
from gitpat_proxy.web.api.entity import etag_of, has_match
from gitpat_proxy.web.api.problem import ApiCode, ProblemError, invalid
from gitpat_proxy.web.cursor import cursor_text, read_cursor

TOKENS = "/-/api/v1/tokens"


async def create(call: Call[models.Nothing, models.Once, models.NewToken]) -> Answer:
    """Make a token of the account that asks."""
    call.caller.check_fresh(call.now)
    account, facts, by = call.caller.account.name, TokenFacts(**call.body.model_dump()), call.own
    tokens = call.parts.tokens
    if (once := _once(call)) is None:
        secret, token = await tokens.create(account, facts, by=by)
        return _made(call, secret, token, 201)
    try:
        return _made(call, *await tokens.create_once(account, facts, once, by=by), 201)
    except ConflictError as error:
        raise _reused(error) from None


async def derive(call: Call[models.Nothing, models.Nothing, models.DerivedToken]) -> Answer:
    """Make a token out of the one that asks."""
    facts = TokenFacts(**call.body.model_dump())
    secret, token = await call.parts.tokens.derive(_asking(call).id, facts, by=call.own)
    return _made(call, secret, token, 201)


async def rotate(call: Call[models.Nothing, models.Once, None]) -> Answer:
    """Give a token of the account that asks a new secret."""
    call.caller.check_fresh(call.now)
    token_id, account, tokens = call.ids["id"], call.caller.account.name, call.parts.tokens
    if (once := _once(call)) is None:
        secret, token = await tokens.rotate(token_id, by=call.own)
        return _made(call, secret, token, 200)
    try:
        done = await tokens.rotate_once(token_id, account, once, by=call.own)
    except ConflictError as error:
        raise _reused(error) from None
    return _made(call, *done, 200)


async def listed(call: Call[models.TokenList, models.Nothing, None]) -> Answer:
    """Return tokens, the newest first."""
    query = call.query
    wanted = TokenQuery(
        account=account_of(call),
        status=query.only,
        search=query.search,
        before=place_of(query.cursor, read_cursor),
        limit=query.limit + 1,
    )
    found = await call.parts.tokens.page(wanted)
    items = found[: query.limit]
    following = cursor_text(items[-1].created_at, items[-1].id) if len(found) > len(items) else None
    return Answer(200, answers.Tokens(items=[_shown(call, t) for t in items], next=following))


async def shown(call: Call[models.Nothing, models.IfNoneMatch, None]) -> Answer:
    """Return one token."""
    token = await call.parts.tokens.get(call.ids["id"], call.caller.reach(call.now))
    known = call.headers.if_none_match
    if known is not None and has_match(known, token, weak=True):
        return Answer(304, headers={"ETag": etag_of(token)})
    return _answer(call, token)


async def explained(call: Call[models.Question, models.Nothing, None]) -> Answer:
    """Tell what a token may do, and by which rule."""
    account = call.caller.reach(call.now)
    try:
        asked = OperationAsked(**call.query.model_dump())
        found = await call.parts.explanations.of(call.ids["id"], asked, account)
    except FactsError as error:
        raise invalid(error.problems, status=400) from None
    return Answer(200, answers.Explanation.model_validate(explanation_object(found)))


async def edited(call: Call[models.Nothing, models.IfMatch, models.TokenChanges]) -> Answer:
    """Replace what is given of a token of the account that asks."""
    call.caller.check_fresh(call.now)
    tokens, token_id, account = call.parts.tokens, call.ids["id"], call.caller.account.name
    version = None
    if (seen := call.headers.if_match) is not None:
        token = await tokens.get(token_id, account)
        if not has_match(seen, token, weak=False):
            raise _changed()
        version = None if seen.strip() == "*" else version_of(token)
    facts = TokenFacts(**call.body.model_dump())
    try:
        return _answer(call, await tokens.edit(token_id, facts, by=call.own, version=version))
    except ConflictError:
        raise _changed() from None


async def revoked(call: Call[models.Revocation, models.Nothing, None]) -> Answer:
    """End a token for good."""
    by = call.author(call.caller.reach(call.now))
    [token] = await call.parts.tokens.revoke([call.ids["id"]], call.query.reason, by=by)
    return _answer(call, token)


async def own(call: Call[models.Nothing, models.Nothing, None]) -> Answer:
    """Return the token that asks."""
    shown_token = token_object(_asking(call), call.now)
    grants = sorted(call.caller.grants)
    return Answer(200, answers.OwnToken.model_validate(shown_token | {"grants": grants}))


async def own_revoked(call: Call[models.Revocation, models.Nothing, None]) -> Answer:
    """End the token that asks."""
    [token] = await call.parts.tokens.revoke([_asking(call).id], call.query.reason, by=call.own)
    return _answer(call, token)


def account_of(call: AnyCall) -> str | None:
    """Return whose things are asked for, None for everybody's; raises if they are not there."""
    query: models.Page = call.query
    own_name = call.caller.account.name
    if query.account == own_name or (query.account is None and not query.all_accounts):
        return own_name
    call.caller.check_administers(call.now)
    return query.account


def _asking(call: AnyCall) -> Token:
    token = call.caller.token
    if token is None:
        raise RuntimeError("only a token asks for itself")
    return token


def _shown(call: AnyCall, token: Token) -> answers.Token:
    return answers.Token.model_validate(token_object(token, call.now))


def _answer(call: AnyCall, token: Token) -> Answer:
    return Answer(200, _shown(call, token), {"ETag": etag_of(token)})


def _made(call: AnyCall, secret: str | None, token: Token, status: int) -> Answer:
    """Return the token with its secret, or, to a repeated request, without."""
    headers = {"ETag": etag_of(token)}
    if secret is None:
        return Answer(200, _shown(call, token), headers | {"Idempotent-Replayed": "true"})
    if status == 201:
        headers["Location"] = f"{TOKENS}/{token.id}"
    shown_token = token_object(token, call.parts.clock())
    return Answer(status, answers.MadeToken.model_validate(shown_token | {"token": secret}), headers)


def _once(call: AnyCall) -> OnceRequest | None:
    """Return what is to be done once; the keys of the pages' forms are others."""
    key = call.headers.idempotency_key
    if key is None:
        return None
    body = call.body.model_dump() if call.body else None
    return OnceRequest(f"api {key}", json.dumps([call.method, call.path, body], sort_keys=True))


def _reused(error: ConflictError) -> ProblemError:
    return ProblemError(ApiCode.IDEMPOTENCY_KEY_REUSED, error.sentence)


def _changed() -> ProblemError:
    return ProblemError(
        ApiCode.PRECONDITION_FAILED, "the token is not as If-Match has it; look at it again"
    )
