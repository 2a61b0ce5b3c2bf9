"""The OpenAPI 3.1 document, made of the table of operations and the models that they use."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gitpat_proxy.access.refusal import Code
from gitpat_proxy.web.api import answers, models
from gitpat_proxy.web.api.operations import OPERATIONS, Callers, Operation, Shown
from gitpat_proxy.web.api.problem import PROBLEMS, ApiCode

_REFERENCE = "#/components/schemas/"
_DESCRIPTION = """\
Everything that the pages do with tokens, for programs. Moments are UTC, as `2026-12-01T14:05:00Z`;
bodies are JSON, but for the two endpoints of OAuth. Errors are problem details (RFC 9457) with a stable
`code`. `X-Request-Id` is what the request is called in the log; `X-Token-Expires` stands on the answers
to a token that ends within 30 days."""

_HEADERS: Mapping[str, str] = {
    "X-Request-Id": "The id that the request has in the log.",
    "X-Token-Expires": "When the token that asks ends, if within 30 days.",
    "ETag": "Another whenever somebody changes the token; the same when it is used.",
    "Location": "Where the token is.",
    "Idempotent-Replayed": "`true`: the request came before, and nothing was done.",
    "Retry-After": "In how many seconds to try again.",
    "WWW-Authenticate": "What would do (RFC 6750).",
    "Allow": "The methods that the address has.",
}
_ALWAYS = ["X-Request-Id", "X-Token-Expires"]
_WITH_STATUS: Mapping[int, list[str]] = {
    401: ["WWW-Authenticate"],
    403: ["WWW-Authenticate"],
    405: ["Allow"],
    429: ["Retry-After"],
}
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token: `Bearer gpat_…`."},
    "basic": {"type": "http", "scheme": "basic", "description": "A token as the password."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-gitpat-session",
        "description": "A page's session, only together with `csrf`.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "What the forms of the page carry as `csrf`.",
    },
}
_TOKEN_STATES = [
    *[Code.CREDENTIALS_MISSING, Code.CREDENTIALS_MALFORMED, Code.TOKEN_UNKNOWN, Code.TOKEN_EXPIRED],
    *[Code.TOKEN_REVOKED, Code.TOKEN_NOT_YET_VALID, Code.TOKEN_USED_UP, Code.ACCOUNT_DISABLED],
    Code.ADDRESS_DENIED,
    Code.THROTTLED,
]
_OF_BODIES = [ApiCode.TIMEOUT, ApiCode.TOO_LARGE, ApiCode.UNSUPPORTED_MEDIA_TYPE]


def document(public_url: str, version: str) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "gitpat-proxy", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": public_url.rstrip("/")}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _SECURITY_SCHEMES},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "security": _security(operation),
        "parameters": list(_parameters(operation)),
        "responses": _responses(operation),
    }
    if operation.body:
        media_type = "application/x-www-form-urlencoded" if operation.is_form else "application/json"
        content = {media_type: {"schema": _reference(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """Return each of the ways to prove who asks, with the scope that a token needs."""
    if operation.callers is Callers.ANYBODY:
        return []
    scopes = [operation.scope] if operation.scope else []
    ways = [{"bearer": scopes}, {"basic": scopes}]
    sessions = operation.callers is Callers.TOKENS_AND_SESSIONS
    return [*ways, {"session": [], "csrf": []}] if sessions else ways


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    if "{id}" in operation.path:
        schema = {"type": "string", "pattern": f"^{models.TOKEN_ID}$"}
        described = {"required": True, "description": "The token's id, as `fakon-lapag`."}
        yield {"name": "id", "in": "path", "schema": schema} | described
    for place, model in [("query", operation.query), ("header", operation.headers)]:
        model_schema = model.model_json_schema()
        for name, schema in model_schema.get("properties", {}).items():
            yield _parameter(place, name, schema, required=name in model_schema.get("required", ()))


def _parameter(place: str, name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Return a parameter; what a model has as null is one that is not sent."""
    [given, *_] = schema.pop("anyOf", [{}])
    schema = {k: v for k, v in {**schema, **given}.items() if k != "title" and v is not None}
    description = schema.pop("description")
    told = {"required": required, "description": description, "schema": schema}
    return {"name": name, "in": place} | told


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {str(shown.status): _response(shown) for shown in operation.answers}
    by_status: dict[int, list[str]] = {}
    for code, status in _problems(operation):
        by_status.setdefault(status, []).append(code)
    for status, codes in sorted(by_status.items()):
        titles = "; ".join(f"`{code}`: {PROBLEMS[code][1].lower()}" for code in codes)
        responses[str(status)] = _problem_response(status, f"{titles[0]}{titles[1:]}.")
    return responses


def _problems(operation: Operation) -> Iterator[tuple[str, int]]:
    """Return the codes and statuses of all that an operation's parts can find wrong."""
    codes: list[Code | ApiCode] = [ApiCode.METHOD_NOT_ALLOWED, *operation.problems]
    if operation.callers is not Callers.ANYBODY:
        codes += _TOKEN_STATES
    if operation.scope:
        codes += [Code.SCOPE_MISSING, ApiCode.FORBIDDEN]
    if operation.admin_will_do:
        codes.append(ApiCode.CONFIRMATION_REQUIRED)
    if "{id}" in operation.path:
        codes.append(ApiCode.NOT_FOUND)
    codes += _OF_BODIES if operation.body else [ApiCode.TIMEOUT, ApiCode.TOO_LARGE]
    codes += [ApiCode.MALFORMED, Code.INTERNAL, Code.UNAVAILABLE]
    for code in dict.fromkeys(codes):
        yield code.value, PROBLEMS[code][0]
    yield ApiCode.INVALID.value, 400
    if (operation.body and not operation.is_form) or operation.query is models.Revocation:
        yield ApiCode.INVALID.value, 422


def _response(shown: Shown) -> dict[str, Any]:
    response = {"description": shown.description, "headers": _headers([*_ALWAYS, *shown.headers])}
    if shown.model:
        response["content"] = {"application/json": {"schema": _reference(shown.model)}}
    return response


def _problem_response(status: int, description: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _headers([*_ALWAYS, *_WITH_STATUS.get(status, [])]),
        "content": {"application/problem+json": {"schema": _reference(answers.Problem)}},
    }


def _headers(names: list[str]) -> dict[str, Any]:
    return {n: {"description": _HEADERS[n], "schema": {"type": "string"}} for n in names}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"{_REFERENCE}{model.__name__}"}


def _schemas() -> dict[str, Any]:
    taken: list[type[BaseModel]] = [o.body for o in OPERATIONS if o.body]
    answered = [shown.model for o in OPERATIONS for shown in o.answers if shown.model]
    used: dict[type[BaseModel], None] = dict.fromkeys([*taken, *answered, answers.Problem])
    _, schemas = models_json_schema(
        [(model, "validation") for model in used], ref_template=f"{_REFERENCE}{{model}}"
    )
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions
