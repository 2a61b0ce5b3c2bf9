"""All that the API can do, in one table: requests are matched, and the document is made, from it."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from pydantic import BaseModel

from gitpat_proxy.access.refusal import Code
from gitpat_proxy.web.api import activity, answers, models, oauth, tokens
from gitpat_proxy.web.api.call import Answer, AnyCall
from gitpat_proxy.web.api.problem import ApiCode

ROOT = "/-/api/v1"
_ID = "{id}"


class Callers(Enum):
    """Who may ask at all."""

    ANYBODY = "anybody"
    TOKENS = "tokens"
    TOKENS_AND_SESSIONS = "tokens and sessions"


@dataclass(frozen=True)
class Shown:
    """An answer, for those who read about it."""

    status: int
    description: str
    model: type[BaseModel] | None = None
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Operation:
    """One thing that the API can do. `problems` are those that its parts don't tell already."""

    method: str
    path: str
    name: str
    summary: str
    description: str
    handle: Callable[[AnyCall], Awaitable[Answer]]
    answers: Sequence[Shown]
    scope: str | None = None
    admin_will_do: bool = False
    callers: Callers = Callers.TOKENS_AND_SESSIONS
    query: type[models.Input] = models.Nothing
    headers: type[models.Input] = models.Nothing
    body: type[models.Input] | None = None
    problems: Sequence[Code | ApiCode] = ()

    @property
    def is_form(self) -> bool:
        return self.body is not None and issubclass(self.body, models.Form)

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.path).replace(re.escape(_ID), f"(?P<id>{models.TOKEN_ID})"))


_TOKEN = Shown(200, "The token.", answers.Token, ["ETag"])
_MADE = Shown(201, "The token, with its secret as `token`.", answers.MadeToken, ["ETag", "Location"])
_REPLAYED = Shown(
    200,
    "The request came before: the token that it made, without its secret.",
    answers.Token,
    ["ETag", "Idempotent-Replayed"],
)


async def _describe(call: AnyCall) -> Answer:
    return Answer(200, answers.Document.model_validate(call.parts.document()))


OPERATIONS: Sequence[Operation] = (
    Operation(
        "GET",
        f"{ROOT}/tokens",
        "listTokens",
        "List tokens",
        "Your tokens, the newest first. Administrators may ask for those of others.",
        tokens.listed,
        [Shown(200, "A part of the list.", answers.Tokens)],
        scope="tokens:read",
        admin_will_do=True,
        query=models.TokenList,
    ),
    Operation(
        "POST",
        f"{ROOT}/tokens",
        "makeToken",
        "Make a token",
        "The secret is in this answer and nowhere else. The new token never does more, or lives "
        "longer, than the token that asks.",
        tokens.create,
        [
            _MADE,
            _REPLAYED,
        ],
        scope="tokens:write",
        headers=models.Once,
        body=models.NewToken,
        problems=[ApiCode.CONFLICT, ApiCode.CONFIRMATION_REQUIRED, ApiCode.IDEMPOTENCY_KEY_REUSED],
    ),
    Operation(
        "POST",
        f"{ROOT}/tokens/derive",
        "deriveToken",
        "Derive a token from the one that asks",
        "For a job: shorter, for less, and it ends with the token that asks. It never does more, "
        "whatever becomes of either. A derived token may derive once more.",
        tokens.derive,
        [_MADE],
        scope="tokens:delegate",
        callers=Callers.TOKENS,
        body=models.DerivedToken,
    ),
    Operation(
        "GET",
        f"{ROOT}/tokens/{_ID}",
        "getToken",
        "Look at a token",
        "One of yours; administrators see everybody's.",
        tokens.shown,
        [
            _TOKEN,
            Shown(304, "Nobody has changed it since `If-None-Match` was seen.", None, ["ETag"]),
        ],
        scope="tokens:read",
        admin_will_do=True,
        headers=models.IfNoneMatch,
    ),
    Operation(
        "GET",
        f"{ROOT}/tokens/{_ID}/explain",
        "explainToken",
        "Ask what a token may do",
        "Each check in its order, the rule that decided it, and the verdict. Only what rules say: "
        "whether there is such a repository is not told.",
        tokens.explained,
        [Shown(200, "The verdict, and how it comes about.", answers.Explanation)],
        scope="tokens:read",
        admin_will_do=True,
        query=models.Question,
    ),
    Operation(
        "PATCH",
        f"{ROOT}/tokens/{_ID}",
        "editToken",
        "Edit a token",
        "What is given replaces what was; the secret stays. A token can't edit itself, nor make "
        "another one do more, or live longer, than itself.",
        tokens.edited,
        [_TOKEN],
        scope="tokens:write",
        headers=models.IfMatch,
        body=models.TokenChanges,
        problems=[ApiCode.CONFLICT, ApiCode.CONFIRMATION_REQUIRED, ApiCode.PRECONDITION_FAILED],
    ),
    Operation(
        "DELETE",
        f"{ROOT}/tokens/{_ID}",
        "revokeToken",
        "Revoke a token",
        "It opens nothing from now on, and stays to be looked at. Administrators may revoke "
        "everybody's. One that was revoked before keeps its first reason.",
        tokens.revoked,
        [_TOKEN],
        scope="tokens:write",
        admin_will_do=True,
        query=models.Revocation,
    ),
    Operation(
        "POST",
        f"{ROOT}/tokens/{_ID}/rotate",
        "rotateToken",
        "Give a token a new secret",
        "The old secret is dead when this is answered. A token can't rotate itself.",
        tokens.rotate,
        [
            Shown(
                200,
                "The token, with its secret as `token`; to a request that came before, without.",
                answers.RotatedToken,
                ["ETag", "Idempotent-Replayed"],
            )
        ],
        scope="tokens:write",
        headers=models.Once,
        problems=[ApiCode.CONFLICT, ApiCode.CONFIRMATION_REQUIRED, ApiCode.IDEMPOTENCY_KEY_REUSED],
    ),
    Operation(
        "GET",
        f"{ROOT}/self",
        "getSelf",
        "Look at the token that asks",
        "What it may, and when it ends. Every living token may ask this.",
        tokens.own,
        [Shown(200, "The token that asks.", answers.OwnToken)],
        callers=Callers.TOKENS,
    ),
    Operation(
        "DELETE",
        f"{ROOT}/self",
        "revokeSelf",
        "Revoke the token that asks",
        "Every living token may do this, once.",
        tokens.own_revoked,
        [_TOKEN],
        callers=Callers.TOKENS,
        query=models.Revocation,
    ),
    Operation(
        "GET",
        f"{ROOT}/activity",
        "listActivity",
        "List what tokens did",
        "Clones, fetches, pushes with their refs, refusals and changes, the newest first. "
        "Administrators may ask for those of others.",
        activity.activity,
        [Shown(200, "A part of the list.", answers.Events)],
        scope="tokens:read",
        admin_will_do=True,
        query=models.ActivityList,
    ),
    Operation(
        "POST",
        f"{ROOT}/introspect",
        "introspect",
        "Ask what a secret is worth (RFC 7662)",
        "For the services behind scopes of the catalogue: whose token it is, and what for. What is "
        "not alive, or not known, is only `active: false`.",
        oauth.introspect,
        [Shown(200, "What it is worth.", answers.Introspection)],
        scope="tokens:introspect",
        callers=Callers.TOKENS,
        body=models.IntrospectionForm,
    ),
    Operation(
        "POST",
        f"{ROOT}/revoke",
        "revokeSecret",
        "Revoke a token by its secret (RFC 7009)",
        "Whoever has the secret may end its token: no other right is needed. The answer is the same "
        "whether it is a token or not.",
        oauth.revoke,
        [Shown(200, "If it was a token, it opens nothing from now on.", answers.Done)],
        callers=Callers.ANYBODY,
        body=models.RevocationForm,
        problems=[Code.THROTTLED],
    ),
    Operation(
        "GET",
        f"{ROOT}/openapi.json",
        "getDocument",
        "This description",
        "OpenAPI 3.1.",
        _describe,
        [Shown(200, "The document.", answers.Document)],
        callers=Callers.ANYBODY,
    ),
)


def methods_at(path: str) -> Mapping[str, Operation]:
    """Return the operations of an address, as it was sent, by method."""
    return {o.method: o for o in OPERATIONS if o.pattern.fullmatch(path)}
