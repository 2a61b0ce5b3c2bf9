"""A network before a Git server that fails as it is told to, and passes all on otherwise."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

Fault = Callable[[socket.socket, bytes, "FaultyUpstream"], None]


def answer(data: bytes, *, hang: bool = False) -> Fault:
    """Answer with these bytes, whatever is asked, then close the connection or do nothing more."""

    def fault(client: socket.socket, _head: bytes, upstream: "FaultyUpstream") -> None:
        client.sendall(data)
        if hang:
            upstream.wait()

    return fault


def part_of_answer(size: int, *, hang: bool = False) -> Fault:
    """Pass on the head of the server's answer, and so many bytes of what follows."""

    def fault(client: socket.socket, head: bytes, upstream: "FaultyUpstream") -> None:
        with upstream.connected(head, client) as server:
            data = b""
            while b"\r\n\r\n" not in data:
                data += server.recv(1)
            client.sendall(data + server.recv(size))
            if hang:
                upstream.wait()

    return fault


def trickle(client: socket.socket, head: bytes, upstream: "FaultyUpstream") -> None:
    """Pass the server's answer on a few bytes at a time."""
    with upstream.connected(head, client) as server:
        while data := server.recv(7):
            client.sendall(data)
            time.sleep(0.001)


def reset_in_body(client: socket.socket, _head: bytes, _upstream: "FaultyUpstream") -> None:
    """Take some of the request's body, then reset the connection."""
    left = 256 * 1024
    while left > 0 and (data := client.recv(65536)):
        left -= len(data)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def in_large_push(fault: Fault) -> Fault:
    """Fail where the pack comes; git has asked with a small request before whether it may."""

    def pack_or_not(client: socket.socket, head: bytes, upstream: "FaultyUpstream") -> None:
        if b"chunked" in head.lower():
            fault(client, head, upstream)
        else:
            with upstream.connected(head, client) as server:
                _pass(server, client)

    return pack_or_not


class FaultyUpstream:
    """Listens in a server's stead, and has each request come on a connection of its own."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._fault: tuple[bytes, Fault] | None = None
        self._over = threading.Event()
        self._connections: list[socket.socket] = []
        self.port = 0
        self.up()

    def up(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def down(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._end_connections()

    def behave(self, fault: Fault, method: str = "") -> None:
        """Fail so in all requests to come, or in those with this method."""
        self._over = threading.Event()
        self._fault = (method.encode(), fault)
        self._end_connections()

    def recover(self) -> None:
        self._fault = None
        self._over.set()
        self._end_connections()

    def wait(self) -> None:
        """Return when the fault is over."""
        self._over.wait(60)

    def connected(self, head: bytes, client: socket.socket) -> socket.socket:
        """Return a connection to the server which passes on what the client sends."""
        server = socket.create_connection(("127.0.0.1", self._target))
        self._connections.append(server)
        server.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        threading.Thread(target=_pass, args=(client, server), daemon=True).start()
        return server

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                self._connections.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = client.recv(65536)
            if self._fault and head.startswith(self._fault[0]):
                self._fault[1](client, head, self)
            elif head:
                with self.connected(head, client) as server:
                    _pass(server, client)

    def _end_connections(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
