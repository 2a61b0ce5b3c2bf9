"""A request of the plain kind that Git clients send, read at once from all of its bytes.

Nothing is understood here otherwise than by the HTTP parser: whatever is unusual is left to it.
"""

import re
from dataclasses import dataclass

_REQUEST = re.compile(
    rb"(GET|POST) (/[A-Za-z0-9._~%+@:,=-][A-Za-z0-9._~%+@:,=/-]*)(?:\?([A-Za-z0-9._~%+@:,=&/-]*))? "
    rb"HTTP/1\.1\r\n((?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
# What gives a request another end, connection or turn than the plain one.
_UNUSUAL = frozenset(
    ["connection", "expect", "http2-settings", "te", "trailer", "transfer-encoding", "upgrade"]
)


@dataclass(frozen=True)
class PlainRequest:
    """`path` and `query` as they were sent; `headers` by lower-case name."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


def plain_request(data: bytes, *, longest_head: int, most_headers: int) -> PlainRequest | None:
    """Return the request that is there from the first byte to the last, None for whatever else it is.

    `longest_head` is in bytes.
    """
    match = _REQUEST.match(data, 0, longest_head)
    if not match:
        return None
    method, path, query, fields = match.groups()
    lines = fields.decode("ascii").split("\r\n")[:-1]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    # The same name twice is unusual, whichever it is.
    if len(headers) != len(lines) or len(lines) > most_headers or "host" not in headers:
        return None
    if not _UNUSUAL.isdisjoint(headers):
        return None
    body = data[match.end() :]
    if headers.get("content-length") != (str(len(body)) if method == b"POST" else None):
        return None
    if method == b"GET" and body:
        return None
    return PlainRequest(method.decode(), path.decode(), (query or b"").decode(), headers, body)
