"""What the API takes: checked where it comes in, described where it is documented."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from gitpat_proxy.access.model import EventKind, Status

ID_PATTERN = "[bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]"
TOKEN_ID = f"{ID_PATTERN}-{ID_PATTERN}"
MOST_ITEMS = 200


def _number(text: object) -> object:
    """Parameters are texts: digits alone are a number."""
    return int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,9}", text) else text


def _flag(text: object) -> object:
    return {"true": True, "false": False}.get(text, text) if isinstance(text, str) else text


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise PydanticCustomError("address", "it is no IPv4 or IPv6 address") from None


class Input(BaseModel):
    """Nothing unknown, nothing of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Nothing(Input):
    """No parameters."""


# --- bodies ---------------------------------------------------------------------------------------

_Name = Annotated[
    str, Field(min_length=1, max_length=100, description="What its owner calls it.", examples=["Laptop"])
]
_Scopes = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100)]],
    Field(
        min_length=1,
        max_length=100,
        description="What it is for: built-in scopes, and those of the configuration's catalogue.",
        examples=[["code:read"]],
    ),
]
_Expires = Annotated[
    str,
    Field(
        max_length=40,
        description="When it ends: `90d`, `12h`, a date, a time, or `never`.",
        examples=["90d"],
    ),
]
_NotBefore = Annotated[
    str,
    Field(
        max_length=40,
        description="From when on it is valid: `1h`, a date, a time, or `any`.",
        examples=["any"],
    ),
]
_Addresses = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=50)]],
    Field(
        min_length=1,
        max_length=100,
        description="The networks that it may be used from, or `any` alone.",
        examples=[["192.0.2.0/24"]],
    ),
]
_Repositories = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=250)]],
    Field(
        min_length=1,
        max_length=100,
        description="The repositories that it reaches: names without `.git`, `*` within a segment, `**` "
        "for whole ones, `!` excludes; or `any` alone.",
        examples=[["team/**", "!team/secret"]],
    ),
]
_Refs = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=300)]],
    Field(
        min_length=1,
        max_length=100,
        description="The refs that it may change, and how: `PATTERN[=VERBS]` of `create`, `update`, "
        "`force`, `delete`, or `none`. The first that matches holds, what none matches is denied. Or "
        "`any` alone.",
        examples=[["refs/heads/agent/**=create,update,force,delete"]],
    ),
]
_Uses = Annotated[
    Annotated[int, Field(ge=1, le=999_999_999)] | Literal["any"],
    Field(description="After so many clones, fetches and pushes from now on it ends; or `any`."),
]


class NewToken(Input):
    """A token to be made. What is left out: the configuration's default lifetime, no limit."""

    name: _Name
    scopes: _Scopes
    expires: _Expires | None = None
    not_before: _NotBefore | None = None
    addresses: _Addresses | None = None
    repositories: _Repositories | None = None
    refs: _Refs | None = None
    uses: _Uses | None = None


class DerivedToken(NewToken):
    """A token to be derived. What is left out: 15 minutes, and the limits of the token that asks."""


class TokenChanges(Input):
    """What replaces what was; what is left out, or null, stays."""

    name: _Name | None = None
    scopes: _Scopes | None = None
    expires: _Expires | None = None
    not_before: _NotBefore | None = None
    addresses: _Addresses | None = None
    repositories: _Repositories | None = None
    refs: _Refs | None = None
    uses: _Uses | None = None


class Form(Input):
    """An OAuth endpoint ignores the parameters that it does not know (RFC 6749, section 3.2)."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, defer_build=True)

    token: str = Field(min_length=1, max_length=1000, description="The token's secret.")
    token_type_hint: str | None = Field(
        default=None, max_length=100, description="Ignored: there is one type of token."
    )


class IntrospectionForm(Form):
    """A secret that somebody showed to the service that asks."""

    client_address: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None,
        max_length=45,
        json_schema_extra={
            "anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]
        },
        description="From where it was shown. A token that is limited to addresses is active only "
        "with an address that it may be used from.",
        examples=["192.0.2.7"],
    )


class RevocationForm(Form):
    """A secret whose token shall end."""


# --- parameters -----------------------------------------------------------------------------------

_Limit = Annotated[int, BeforeValidator(_number)]
_Flag = Annotated[bool, BeforeValidator(_flag)]


class Page(Input):
    """Which part of a list."""

    limit: _Limit = Field(default=50, ge=1, le=MOST_ITEMS, description="How many at most.")
    cursor: str | None = Field(
        default=None, max_length=100, description="`next` of the page before; left out for the first."
    )
    account: str | None = Field(
        default=None, max_length=64, description="Those of another account (administrators)."
    )
    all_accounts: _Flag = Field(
        default=False, description="Those of all accounts (administrators), if `account` is left out."
    )


class TokenList(Page):
    """Which tokens."""

    status: Literal["active", "pending", "expired", "revoked", "all"] = Field(
        default="all", description="Only those in this state."
    )
    search: str = Field(
        default="", max_length=100, description="Only those with this in their name, id or hint."
    )

    @property
    def only(self) -> Status | None:
        return None if self.status == "all" else Status(self.status)


class ActivityList(Page):
    """Which events."""

    token: str | None = Field(default=None, max_length=30, description="Only this token's, by id.")
    kind: Literal["read", "push", "refused", "change", "sign_in", "all"] = Field(
        default="all", description="Only this kind."
    )
    repository: str | None = Field(
        default=None, max_length=300, description="Only those of this repository, as `team/app`."
    )
    address: str | None = Field(default=None, max_length=45, description="Only from this address.")
    request: str | None = Field(
        default=None, max_length=30, description="Only this request's, as git names it."
    )
    since: str | None = Field(
        default=None,
        max_length=40,
        description="Only from then on: how long ago (`24h`, `7d`), a date, or a time.",
        examples=["30d"],
    )

    @property
    def only(self) -> EventKind | None:
        return None if self.kind == "all" else EventKind(self.kind)


class Question(Input):
    """An operation, as git would ask for it."""

    repository: str = Field(
        max_length=300, description="Which repository, as `team/app`.", examples=["team/app"]
    )
    service: str = Field(
        pattern="^(git-)?(receive-pack|upload-pack|upload-archive)$",
        description="A push is `receive-pack`, a clone or a fetch `upload-pack`.",
        examples=["receive-pack"],
    )
    ref: str | None = Field(
        default=None,
        max_length=300,
        description="What a push changes, by its full name; with one of `=create`, `=update`, `=force`, "
        "`=delete` behind it only about that, else about each of them.",
        examples=["refs/heads/main=force"],
    )
    address: str | None = Field(
        default=None, max_length=45, description="From where; left out, addresses are not looked at."
    )
    at: str | None = Field(
        default=None,
        max_length=40,
        description="When: a date, a time, or `12h` from now; left out: now.",
        examples=["2027-01-31"],
    )


class Revocation(Input):
    """Why a token ends."""

    reason: str | None = Field(
        default=None, max_length=100, description="Why; its user reads it when it is refused."
    )


class Once(Input):
    """So that a repeated request does its work once."""

    idempotency_key: str | None = Field(
        default=None,
        alias="Idempotency-Key",
        pattern="^[!-~]{1,255}$",
        description="Made up by the caller, another for each request: a repetition with the same key "
        "does nothing, and answers the token without its secret.",
    )


class IfMatch(Input):
    """So that nobody's change is overwritten."""

    if_match: str | None = Field(
        default=None,
        alias="If-Match",
        max_length=1000,
        description="The `ETag` of the token as it was seen; refused with 412 if it is another by now.",
        examples=["*"],
    )


class IfNoneMatch(Input):
    """So that nothing is sent that is known."""

    if_none_match: str | None = Field(
        default=None,
        alias="If-None-Match",
        max_length=1000,
        description="The `ETag` of the token as it was seen; 304 if nobody changed it.",
    )
