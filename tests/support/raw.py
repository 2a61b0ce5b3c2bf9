"""HTTP as bytes on a socket, for what no client would send."""

import base64
import socket


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


def status_of(answer: bytes) -> int:
    """Return the status; 0 if the connection was closed without an answer."""
    return int(answer.split(b" ", 2)[1]) if answer else 0
