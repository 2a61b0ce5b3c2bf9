"""Why a request can't be answered as wished: codes, statuses and titles, in one table (RFC 9457)."""

from collections.abc import Mapping
from enum import StrEnum

from gitpat_proxy.access.names import printable
from gitpat_proxy.access.refusal import Code, Refusal, RefusedError, refuse
from gitpat_proxy.access.secret import without_secrets
from gitpat_proxy.services.errors import (
    ConflictError,
    FactsError,
    ForbiddenError,
    NotFoundError,
    ServiceError,
)
from gitpat_proxy.store.errors import DatabaseError


class ApiCode(StrEnum):
    """The API's own reasons, beside those of `access.refusal.Code`."""

    MALFORMED = "malformed"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    CONFIRMATION_REQUIRED = "confirmation_required"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TIMEOUT = "timeout"
    CONFLICT = "conflict"
    PRECONDITION_FAILED = "precondition_failed"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"


PROBLEMS: Mapping[str, tuple[int, str]] = {
    Code.CREDENTIALS_MISSING: (401, "No token came with the request"),
    Code.CREDENTIALS_MALFORMED: (401, "The Authorization header can't be read"),
    Code.TOKEN_UNKNOWN: (401, "It is not a token"),
    Code.TOKEN_EXPIRED: (401, "The token has expired"),
    Code.TOKEN_REVOKED: (401, "The token was revoked"),
    Code.TOKEN_NOT_YET_VALID: (401, "The token is not valid yet"),
    Code.TOKEN_USED_UP: (401, "The token has no use left"),
    Code.ACCOUNT_DISABLED: (401, "The token's account is disabled"),
    Code.ADDRESS_DENIED: (401, "The token may not be used from this address"),
    Code.SCOPE_MISSING: (403, "The token lacks the scope"),
    ApiCode.FORBIDDEN: (403, "Not allowed to whoever asks"),
    ApiCode.CONFIRMATION_REQUIRED: (403, "The password is asked for once more, on the pages"),
    ApiCode.MALFORMED: (400, "The request can't be read"),
    ApiCode.INVALID: (422, "A value can't be used"),
    ApiCode.NOT_FOUND: (404, "There is no such thing for whoever asks"),
    ApiCode.METHOD_NOT_ALLOWED: (405, "Another method"),
    ApiCode.TIMEOUT: (408, "The body did not arrive in time"),
    ApiCode.CONFLICT: (409, "The token is not in a state for that"),
    ApiCode.PRECONDITION_FAILED: (412, "Somebody changed it meanwhile"),
    ApiCode.TOO_LARGE: (413, "The body is too large"),
    ApiCode.UNSUPPORTED_MEDIA_TYPE: (415, "Not the kind of body that is read here"),
    ApiCode.IDEMPOTENCY_KEY_REUSED: (422, "The key came before, with another request"),
    Code.THROTTLED: (429, "Too many unknown tokens from this address"),
    Code.INTERNAL: (500, "The proxy failed"),
    Code.UNAVAILABLE: (503, "The proxy can't look up tokens at the moment"),
}

_SAID_OTHERWISE = {
    Code.CREDENTIALS_MISSING: "Send a personal access token: Authorization: Bearer gpat_…",
}
_OAUTH_ERRORS: Mapping[str, str] = {
    Code.INTERNAL: "server_error",
    Code.UNAVAILABLE: "temporarily_unavailable",
}


class ProblemError(Exception):
    """Carries a problem to where it is answered; `errors` are sentences by field."""

    def __init__(
        self,
        code: Code | ApiCode,
        detail: str,
        *,
        status: int | None = None,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status or PROBLEMS[code][0]
        self.detail = sentence(detail)
        self.errors = {harmless(f): harmless(d) for f, d in (errors or {}).items()}
        self.headers = headers or {}

    @property
    def title(self) -> str:
        return PROBLEMS[self.code][1]

    @property
    def oauth_error(self) -> str:
        """Return what RFC 6749, section 5.2, calls it."""
        if self.status == 401:
            return "invalid_client"
        return _OAUTH_ERRORS.get(self.code, "invalid_request")


def invalid(errors: Mapping[str, str], *, status: int = 422) -> ProblemError:
    """Return the problem that some values can't be used."""
    return ProblemError(ApiCode.INVALID, "; ".join(errors.values()), status=status, errors=errors)


def problem_of(error: Exception) -> ProblemError | None:
    """Return as what an exception is told; None for one that should not happen."""
    match error:
        case ProblemError():
            return error
        case RefusedError():
            return of_refusal(error.refusal)
        case FactsError():
            return invalid(error.problems)
        case ServiceError():
            return ProblemError(_CODES.get(type(error), ApiCode.CONFLICT), error.sentence)
        case DatabaseError():
            return of_refusal(refuse(Code.UNAVAILABLE))
    return None


_CODES: Mapping[type[ServiceError], ApiCode] = {
    NotFoundError: ApiCode.NOT_FOUND,
    ForbiddenError: ApiCode.FORBIDDEN,
    ConflictError: ApiCode.CONFLICT,
}


def of_refusal(refusal: Refusal) -> ProblemError:
    """Return a refusal as a problem."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    detail = _SAID_OTHERWISE.get(refusal.code, refusal.sentence)
    return ProblemError(refusal.code, detail, status=refusal.status, headers=headers)


def sentence(text: str) -> str:
    """Return the text as a sentence."""
    text = harmless(text)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "…")) else ".")


def harmless(text: str) -> str:
    """Return what may have come from somebody without secrets and without what a reader acts on."""
    return printable(without_secrets(text))
