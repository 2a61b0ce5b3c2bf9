"""Why an operation is not forwarded: code, status and sentence of each reason, in one table."""

from dataclasses import dataclass, field
from enum import StrEnum


class Code(StrEnum):
    """The stable names of the reasons, for programs and for the log."""

    CREDENTIALS_MISSING = "credentials_missing"
    CREDENTIALS_MALFORMED = "credentials_malformed"
    TOKEN_UNKNOWN = "token_unknown"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_REVOKED = "token_revoked"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    TOKEN_USED_UP = "token_used_up"
    ACCOUNT_DISABLED = "account_disabled"
    ADDRESS_DENIED = "address_denied"
    SCOPE_MISSING = "scope_missing"
    REPOSITORY_NOT_FOUND = "repository_not_found"
    ACCESS_DENIED = "access_denied"
    REF_DENIED = "ref_denied"
    REF_MALFORMED = "ref_malformed"
    COMMANDS_UNCLEAR = "commands_unclear"
    DUMB_PROTOCOL_OFF = "dumb_protocol_off"
    SERVICE_OFF = "service_off"
    THROTTLED = "throttled"
    BUSY = "busy"
    PUSH_TOO_LARGE = "push_too_large"
    TOO_MANY_REFS = "too_many_refs"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UNAVAILABLE = "unavailable"
    STOPPING = "stopping"
    NOT_GIT = "not_git"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INTERNAL = "internal"
    BAD_REQUEST = "bad_request"
    MEDIA_TYPE = "media_type"


@dataclass(frozen=True)
class Refusal:
    """`retry_after` is in seconds; `allow` is the method that would do.

    `page` is the path of the page where the person can do something about it. `check` and `rule` are
    the step of the decision that refused (`access.policy.Check`), None where it was something else.
    """

    code: Code
    status: int
    sentence: str
    retry_after: int | None = None
    allow: str | None = None
    page: str | None = None
    check: str | None = field(default=None, compare=False)
    rule: str | None = field(default=None, compare=False)

    @property
    def challenges(self) -> bool:
        """A 401 asks for other credentials."""
        return self.status == 401


class RefusedError(Exception):
    """Carries a refusal to where it is answered, from before the first byte of an answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


_TABLE: dict[Code, tuple[int, str]] = {
    Code.CREDENTIALS_MISSING: (
        401,
        "Give a personal access token as the password, with any username that is not empty.",
    ),
    Code.CREDENTIALS_MALFORMED: (
        401,
        "The Authorization header can't be read: send Basic with a personal access token as the "
        "password, or Bearer, and one of them only.",
    ),
    Code.TOKEN_UNKNOWN: (
        401,
        "The password is not a valid personal access token; an account's own password is not "
        "accepted here.",
    ),
    Code.TOKEN_EXPIRED: (401, "The token {token} expired on {date}."),
    Code.TOKEN_REVOKED: (401, "The token {token} was revoked on {date}{reason}."),
    Code.TOKEN_NOT_YET_VALID: (401, "The token {token} is valid from {date} on."),
    Code.TOKEN_USED_UP: (401, "The token {token} has been used as often as it may: {uses}."),
    Code.ACCOUNT_DISABLED: (
        401,
        "The account {account}, which owns the token {token}, is disabled.",
    ),
    Code.ADDRESS_DENIED: (401, "The token {token} may not be used from the address {address}."),
    Code.SCOPE_MISSING: (
        401,
        "The token {token} has the scope {scopes}, but {service} needs {needed}.",
    ),
    Code.REPOSITORY_NOT_FOUND: (
        404,
        "There is no repository {repository} that this token reaches.",
    ),
    Code.ACCESS_DENIED: (
        403,
        "The account {account} may not do that in {repository}: {service} needs {needed}.",
    ),
    Code.REF_DENIED: (200, "{who} may not {verb} {ref}."),
    Code.REF_MALFORMED: (200, "Nothing can be pushed to {ref} so: git knows no such change or name."),
    Code.COMMANDS_UNCLEAR: (
        400,
        "What this push changes can't be read, and the refs that it may change are limited: push with "
        "git itself.",
    ),
    Code.DUMB_PROTOCOL_OFF: (
        404,
        "The dumb protocol is off here; use a client that speaks smart HTTP, as Git does since 1.6.6.",
    ),
    Code.SERVICE_OFF: (403, "The repository {repository} does not allow {service} over HTTP."),
    Code.THROTTLED: (
        429,
        "Too many unknown tokens came from the address {address}; try again in {retry_after} seconds.",
    ),
    Code.BUSY: (
        503,
        "Too many operations are under way{whose}; try again in {retry_after} seconds.",
    ),
    Code.PUSH_TOO_LARGE: (
        413,
        "The push is larger than {most}, the most that is accepted here; push the history in parts.",
    ),
    Code.TOO_MANY_REFS: (
        413,
        "The push names more refs than fit into {most}, the most that is accepted here; push fewer at "
        "once.",
    ),
    Code.UPSTREAM_FAILED: (502, "The Git server behind this proxy {what}; tell those who run it."),
    Code.UPSTREAM_TIMEOUT: (504, "The Git server behind this proxy did not answer in time."),
    Code.UNAVAILABLE: (503, "This proxy can't look up tokens at the moment; tell those who run it."),
    Code.STOPPING: (503, "This proxy is being stopped; try again."),
    Code.NOT_GIT: (404, "Git uses no such address."),
    Code.METHOD_NOT_ALLOWED: (405, "Git asks this address with {allow}."),
    Code.INTERNAL: (500, "This proxy failed in a way that it should not; tell those who run it."),
    Code.BAD_REQUEST: (400, "The request can't be forwarded: {what}."),
    Code.MEDIA_TYPE: (415, "The body is not of the kind that Git sends here: {what}."),
}


_PAGES = {
    Code.CREDENTIALS_MISSING: "/-/tokens/add",
    Code.CREDENTIALS_MALFORMED: "/-/tokens/add",
    Code.TOKEN_UNKNOWN: "/-/tokens/add",
    Code.TOKEN_EXPIRED: "/-/tokens/add",
    Code.TOKEN_REVOKED: "/-/tokens/add",
    Code.TOKEN_NOT_YET_VALID: "/-/tokens",
    Code.TOKEN_USED_UP: "/-/tokens/add",
    Code.ADDRESS_DENIED: "/-/tokens",
    Code.SCOPE_MISSING: "/-/tokens/{token_id}/edit",
}


def refuse(
    code: Code,
    *,
    status: int | None = None,
    retry_after: int | None = None,
    allow: str | None = None,
    **facts: object,
) -> Refusal:
    """Make a refusal from the table; the other arguments fill its sentence, `status` its status."""
    table_status, sentence = _TABLE[code]
    text = sentence.format(retry_after=retry_after, allow=allow, **facts)
    page = _PAGES[code].format(**facts) if code in _PAGES else None
    return Refusal(code, status or table_status, text, retry_after, allow, page)
