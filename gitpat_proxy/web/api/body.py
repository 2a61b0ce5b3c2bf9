"""A request's body: read as far as it may go, and nothing else than what it says it is."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import ClientError, hdrs, web

from gitpat_proxy.expectation import let_body_come
from gitpat_proxy.web.api.problem import ApiCode, ProblemError, invalid

LARGEST = 64 * 1024
DEEPEST = 20
_SECONDS = 30.0
"""How long a body may take to arrive."""

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


async def read(request: web.Request) -> bytes:
    """Return the body; raises ProblemError if it is too large, too slow, or breaks off."""
    if (request.content_length or 0) > LARGEST:
        raise _too_large()
    try:
        async with asyncio.timeout(_SECONDS):
            await let_body_come(request)
            return await _read(request)
    except TimeoutError:
        raise ProblemError(ApiCode.TIMEOUT, "The body did not arrive in time.") from None
    except (ConnectionError, ClientError, web.RequestPayloadError):
        raise ProblemError(ApiCode.MALFORMED, "The body did not arrive whole.") from None


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST:
            raise _too_large()
    return bytes(body)


def check_media_type(headers: Mapping[str, str], wanted: str) -> None:
    """Raise ProblemError for what is read as something else somewhere else."""
    media_type, _, parameters = headers.get(hdrs.CONTENT_TYPE, "").partition(";")
    charset = parameters.replace('"', "").replace(" ", "").lower()
    if media_type.strip().lower() != wanted or charset not in {"", "charset=utf-8"}:
        raise ProblemError(ApiCode.UNSUPPORTED_MEDIA_TYPE, f"send {wanted}, in UTF-8")
    if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise ProblemError(ApiCode.UNSUPPORTED_MEDIA_TYPE, "the body may not be compressed")


def json_of(body: bytes) -> object:
    """Read JSON (RFC 8259) of bounded depth, without what readers disagree on; raises ProblemError."""
    text = _text_of(body)
    if _depth_of(text) > DEEPEST:
        raise ProblemError(ApiCode.MALFORMED, f"the body is nested deeper than {DEEPEST}")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except ValueError as error:
        raise ProblemError(
            ApiCode.MALFORMED, f"the body is no JSON that is read here: {error}"
        ) from None


def form_of(body: bytes, known: Collection[str]) -> dict[str, str]:
    """Read the known fields of a form; raises ProblemError, also for one that comes twice.

    What is not known is ignored (RFC 6749, section 3.2).
    """
    try:
        pairs = parse_qsl(
            _text_of(body), keep_blank_values=True, strict_parsing=bool(body), errors="strict"
        )
    except ValueError:
        raise ProblemError(ApiCode.MALFORMED, "the body is no form in UTF-8") from None
    return one_each([pair for pair in pairs if pair[0] in known])


def one_each(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return names with their values; raises ProblemError for a name that comes twice."""
    times = Counter(name for name, _ in pairs)
    if twice := {name: f"{name} comes more than once" for name in times if times[name] > 1}:
        raise invalid(twice, status=400)
    return dict(pairs)


def _text_of(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ProblemError(ApiCode.MALFORMED, "the body is not UTF-8") from None


def _depth_of(text: str) -> int:
    """Return how deep it is nested at most, without following it there."""
    depth = deepest = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is none of its values")


def _too_large() -> ProblemError:
    return ProblemError(ApiCode.TOO_LARGE, f"the body has more than {LARGEST} bytes")
