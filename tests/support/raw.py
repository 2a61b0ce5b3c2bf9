"""HTTP as bytes on a socket, for what no client would send."""

import base64
import hashlib
import os
import re
import socket
import zlib
from collections.abc import Sequence


def basic(secret: str, username: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{username}:{secret}".encode()).decode()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def accepts(port: int) -> bool:
    """Tell whether something listens there."""
    try:
        connect(port).close()
    except OSError:
        return False
    return True


def exchange(port: int, request: bytes) -> bytes:
    """Send the bytes and return all that comes until the other side closes."""
    with connect(port) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


def request_bytes(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def service_request(
    service: str, secret: str, body: bytes, *headers: str, repository: str = "team/app"
) -> bytes:
    """Return what a client posts to one of Git's services.

    The length is the body's, unless a header says how long it is to be.
    """
    framed = any(header.startswith(("Content-Length:", "Transfer-Encoding:")) for header in headers)
    return request_bytes(
        "POST",
        f"/{repository}/{service}",
        f"Authorization: {basic(secret)}",
        f"Content-Type: application/x-{service}-request",
        *([] if framed else [f"Content-Length: {len(body)}"]),
        *headers,
        body=body,
    )


_EMPTY = b"PACK\0\0\0\2\0\0\0\0"
EMPTY_PACK = _EMPTY + hashlib.sha1(_EMPTY).digest()


def pack_beginning(size: int) -> bytes:
    """Return the first bytes of a pack with a blob of 200,000 bytes, right as far as they go."""
    blob = zlib.compress(os.urandom(200_000), level=0)
    # Type 3 and the size, 4 bits and then 7 at a time (gitformat-pack, "pack-*.pack files").
    header = bytes([0x80 | 3 << 4 | 200_000 & 15, 0x80 | 200_000 >> 4 & 127, 200_000 >> 11])
    return (b"PACK\0\0\0\2\0\0\0\3" + header + blob)[:size]


def status_of(answer: bytes) -> int:
    """Return the status; 0 if the connection was closed without an answer."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def answers_in(data: bytes, methods: Sequence[str]) -> tuple[list[str], bool]:
    """Return the statuses of all answers, and whether the last one is whole.

    `methods` are those of the requests, as an answer to HEAD has no body. Something that is no answer
    counts as one, with the status "0.9", as HTTP/0.9 has none.
    """
    statuses: list[str] = []
    asked = iter(methods)
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not data.startswith(b"HTTP/"):
            return [*statuses, "0.9"], True
        if not end:
            return statuses, False
        status = head.split(b" ", 2)[1].decode()
        has_body = not status.startswith("1") and next(asked, "GET") != "HEAD"
        length = _answer_length(head.lower(), rest) if has_body else 0
        statuses.append(status)
        if length is None or length > len(rest):
            return statuses, False
        data = rest[length:]
    return statuses, True


def _answer_length(head: bytes, rest: bytes) -> int | None:
    """Return how many bytes the body has; None if that can't be told yet."""
    if b"\r\ntransfer-encoding: chunked" in head:
        return _chunked_length(rest)
    if found := re.search(rb"\r\ncontent-length: (\d+)", head):
        return int(found[1])
    return None if re.search(rb"\r\nconnection: close|^http/1.0", head) else 0


def _chunked_length(rest: bytes) -> int | None:
    place = 0
    while (end := rest.find(b"\r\n", place)) >= 0:
        size = int(rest[place:end], 16)
        place = end + 2 + size + 2
        if not size:
            return place
    return None
