"""What a browser sends: forms read strictly, and where it may be sent on to."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import ClientError, web

from gitpat_proxy.expectation import let_body_come

_LONGEST = 64 * 1024
_MOST_FIELDS = 200
_SECONDS = 30
"""A form is small: who takes longer to send one does so on purpose."""

_PART = "[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*"
_OWN_PAGE = re.compile(rf"/-/({_PART}/)*({_PART})?([?][A-Za-z0-9/_.~%?=&@+:-]*)?")
"""No part is empty or leads upwards, and nothing is quoted, but behind the question mark."""


class FormError(Exception):
    """What came is no form that a page of ours sends."""


@dataclass(frozen=True)
class Form:
    """The fields of a form, each a list of its values."""

    fields: Mapping[str, Sequence[str]]

    def text(self, name: str) -> str:
        """Return the field's only, or first, value; "" if it did not come."""
        return next(iter(self.texts(name)), "")

    def texts(self, name: str) -> Sequence[str]:
        return self.fields.get(name, ())


async def read_form(request: web.Request) -> Form:
    """Read a request's body as a form; raises FormError."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise FormError("The form came in another encoding than the page's own.")
    if (request.content_length or 0) > _LONGEST:
        raise _too_large()
    body = b""
    try:
        async with asyncio.timeout(_SECONDS):
            await let_body_come(request)
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > _LONGEST:
                    raise _too_large()
    except TimeoutError:
        raise FormError("The form did not arrive in time.") from None
    except (ConnectionError, ClientError, web.RequestPayloadError):
        raise FormError("The form did not arrive whole.") from None
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise FormError("The form can't be read.") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return Form(fields)


def _too_large() -> FormError:
    return FormError("The form is larger than any of ours.")


def own_page(address: str) -> str:
    """Return the address if it is a page of ours, else the first page: nobody is sent elsewhere."""
    return address if _OWN_PAGE.fullmatch(address) else "/-/tokens"
