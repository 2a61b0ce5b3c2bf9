"""Clients that do nothing with what they read, so that all that is measured is the server's part."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from bench.errors import BenchError
from bench.servers import Server

_READ_SIZE = 512 * 1024
_SILENCE_SECONDS = 60.0
_BEGIN_SECONDS = 30.0
_SMALL_BUFFER = 4096


def stream(server: Server, request: bytes) -> float:
    """Return the megabytes a second at which the answer arrives."""
    begin = time.perf_counter()
    size = _read_answer(server, request)
    return size / 1e6 / (time.perf_counter() - begin)


def together(server: Server, request: bytes, number: int) -> float:
    """Return the seconds until so many equal requests, sent at once, are all answered."""
    with ThreadPoolExecutor(number) as pool:
        begin = time.perf_counter()
        answers = [pool.submit(_read_answer, server, request) for _ in range(number)]
        for answer in answers:
            answer.result()
        return time.perf_counter() - begin


def _read_answer(server: Server, request: bytes) -> int:
    """Return how many bytes it was; raise BenchError unless it is a whole pack."""
    buffer = memoryview(bytearray(_READ_SIZE))
    try:
        with socket.create_connection(("127.0.0.1", server.port), _SILENCE_SECONDS) as connection:
            connection.sendall(request)
            size, tail = connection.recv_into(buffer), b""
            status = bytes(buffer[:size]).partition(b"\r\n")[0].decode("latin-1")
            total = size
            while size:
                tail = (tail + bytes(buffer[max(0, size - 16) : size]))[-16:]
                size = connection.recv_into(buffer)
                total += size
    except OSError as error:
        raise BenchError(f"a transfer was cut off: {error}") from error
    # The last packets are band 1's end and a flush; chunked, the last chunk follows.
    if " 200 " not in status or b"0000" not in tail:
        raise BenchError(f"the answer is not whole: {status}, {total} bytes")
    return total


@contextmanager
def stalled(server: Server, request: bytes, number: int) -> Iterator[None]:
    """Hold so many answers of which no more than the beginning is read.

    Raise BenchError if they are not all begun: who lets some wait holds less, and would look better.
    """
    with ExitStack() as stack:
        connections = [stack.enter_context(_sent(server, request)) for _ in range(number)]
        end = time.monotonic() + _BEGIN_SECONDS
        begun = sum(_has_begun(connection, end) for connection in connections)
        if begun < number:
            raise BenchError(f"only {begun} of {number} clones were begun in {_BEGIN_SECONDS:.0f} s")
        yield


def _sent(server: Server, request: bytes) -> socket.socket:
    connection = socket.socket()
    # Set before it connects, or the kernel would take megabytes for a client that does not read.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
    connection.settimeout(_SILENCE_SECONDS)
    try:
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request)
    except OSError as error:
        connection.close()
        raise BenchError(f"a clone could not be asked for: {error}") from error
    return connection


def _has_begun(connection: socket.socket, end: float) -> bool:
    connection.settimeout(max(0.01, end - time.monotonic()))
    try:
        return b" 200 " in connection.recv(64)
    except OSError:
        return False
