"""What the API answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gitpat_proxy.web.api.models import TOKEN_ID

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Output(BaseModel):
    """What is answered."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Token(Output):
    """A token without its secret. null: no limit, or never."""

    id: str = Field(pattern=f"^{TOKEN_ID}$")
    name: str
    account: str
    scopes: list[str]
    repositories: list[str] | None = Field(description="The repositories that it reaches.")
    refs: list[str] | None = Field(description="The refs that it may change, and how.")
    addresses: list[str] | None = Field(description="The networks that it may be used from.")
    uses: int | None = Field(description="After so many clones, fetches and pushes it ends.")
    uses_left: int | None = Field(description="So many are left.")
    status: Literal["active", "pending", "expired", "revoked"] = Field(
        description="Of a derived token: what those that it was derived from leave of it."
    )
    created_at: Time
    not_before: Time | None
    expires_at: Time | None
    last_used_at: Time | None
    last_used_from: str | None
    revoked_at: Time | None
    revoked_by: str | None
    revoked_reason: str | None
    hint: str = Field(description="The beginning and the end of its secret.")
    parent: str | None = Field(description="The id of the token that it was derived from.")


class MadeToken(Token):
    """A token with its secret, which is shown this once."""

    token: str = Field(description="The secret.")


class RotatedToken(Token):
    """A token with its new secret; without, where the request came before."""

    token: str = Field(default="", description="The secret.")


class OwnToken(Token):
    """The token that asks."""

    grants: list[str] = Field(
        description="All that it may at this moment: its scopes, those that they include, without "
        "those that its account may not have any more."
    )


class Tokens(Output):
    """A part of a list of tokens, the newest first."""

    items: list[Token]
    next: str | None = Field(description="The `cursor` of the next part; null at the end.")


class Event(Output):
    """Something that a token did, or that happened to it."""

    id: int
    at: Time
    event: str = Field(description="As `clone`, `push`, `refused`, `token_edited`.")
    kind: Literal["read", "push", "refused", "change", "sign_in"]
    account: str | None = Field(description="Whose token it is.")
    token: str | None
    repository: str | None
    address: str | None
    request: str | None = Field(description="The id that the request has in the log.")
    details: dict[str, Any]


class Events(Output):
    """A part of a list of events, the newest first; there may be fewer than `limit`, and still more."""

    items: list[Event]
    next: str | None = Field(description="The `cursor` of the next part; null at the end.")


class Outcome(Output):
    """Permitted, or why not: the code and the sentence with which git would be refused."""

    permitted: bool
    code: str | None
    sentence: str | None


class Check(Outcome):
    """One step of the decision."""

    check: str = Field(description="What is looked at, as `scope code:write`.")
    rule: str = Field(
        description="What decides: a field of the token, or where a rule of the configuration stands."
    )


class RefOutcome(Outcome):
    """What a push may do to a ref."""

    ref: str
    verb: Literal["create", "update", "force", "delete"]
    checks: list[Check]


class Asked(Output):
    """What is explained."""

    token: str
    account: str
    repository: str
    service: str | None
    address: str | None = Field(description="null: addresses are not looked at.")
    at: Time


class Explanation(Outcome):
    """The verdict about an operation, and how it comes about."""

    asked: Asked
    status: int | None = Field(description="The HTTP status with which git would be refused.")
    checks: list[Check] = Field(description="In their order; the first that refuses is what holds.")
    refs: list[RefOutcome] = Field(
        description="Only where the checks permit. Without a verb one that is permitted will do."
    )
    notes: list[str] = Field(description="What limits the answer, in sentences.")


class Introspection(Output):
    """What a secret that somebody showed is worth (RFC 7662). Inactive: `active` alone."""

    active: bool
    scope: str | None = Field(default=None, description="Its scopes, and those that they include.")
    username: str | None = Field(default=None, description="The account.")
    sub: str | None = Field(default=None, description="The account.")
    token_type: Literal["Bearer"] | None = None
    jti: str | None = Field(default=None, description="The token's id.")
    iat: int | None = None
    nbf: int | None = None
    exp: int | None = None


class Done(Output):
    """Nothing to tell."""


class Document(BaseModel):
    """An OpenAPI document."""

    model_config = ConfigDict(extra="allow")

    openapi: str


class FieldProblem(Output):
    """What is wrong with one field."""

    field: str
    detail: str


class Problem(Output):
    """Why a request was not answered as wished (RFC 9457)."""

    type: str = Field(json_schema_extra={"format": "uri"})
    title: str
    status: int
    detail: str = Field(description="A sentence for people.")
    code: str = Field(description="The stable name of the reason, for programs.")
    request: str = Field(description="The id that the request has in the log.")
    errors: list[FieldProblem] | None = Field(
        default=None, description="What is wrong with which field (`invalid`)."
    )
    error: str | None = Field(default=None, description="OAuth's name of it (RFC 6749, section 5.2).")
