"""From what came in a request to the models that an operation takes."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import ValidationError

from gitpat_proxy.web.api import body as bodies
from gitpat_proxy.web.api.models import Input
from gitpat_proxy.web.api.operations import Operation
from gitpat_proxy.web.api.problem import ApiCode, ProblemError, invalid

Model = TypeVar("Model", bound=Input)

_LONGEST_VALUE = 80


def query_of(request: web.Request, model: type[Model]) -> Model:
    """Read the parameters in the address; raises ProblemError."""
    text = request.rel_url.raw_query_string
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:
        raise ProblemError(ApiCode.MALFORMED, "the parameters can't be read") from None
    return _validated(model, bodies.one_each(pairs), 400)


def headers_of(request: web.Request, model: type[Model]) -> Model:
    """Read the headers that the operation knows; raises ProblemError."""
    names = [str(info.alias) for info in model.model_fields.values()]
    found = {name: ", ".join(request.headers.getall(name)) for name in names if name in request.headers}
    return _validated(model, found, 400)


async def body_of(request: web.Request, operation: Operation) -> Input | None:
    """Read the body that the operation takes, or see that there is none; raises ProblemError."""
    if operation.body is None:
        if await bodies.read(request):
            raise ProblemError(ApiCode.MALFORMED, "this takes no body")
        return None
    bodies.check_media_type(request.headers, bodies.FORM if operation.is_form else bodies.JSON)
    content = await bodies.read(request)
    if operation.is_form:
        return _validated(operation.body, bodies.form_of(content, operation.body.model_fields), 400)
    return _validated(operation.body, bodies.json_of(content), 422)


def _validated(model: type[Model], value: object, status: int) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # With neither the values nor the library's own addresses: a value may be a secret.
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(_sentences(found), status=status) from None


def _sentences(found: list[Any]) -> Mapping[str, str]:
    return {field: _sentence(field, e["msg"]) for e in reversed(found) if (field := _field_of(e["loc"]))}


def _sentence(field: str, message: str) -> str:
    return f"{field} can't be used: {message[:1].lower()}{message[1:]}"


def _field_of(place: tuple[str | int, ...]) -> str:
    """Return the name of what is wrong, as `scopes.0`; a long one is somebody's own."""
    return ".".join(map(str, place))[:_LONGEST_VALUE] or "body"
