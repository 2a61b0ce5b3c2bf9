"""Many clients that do next to nothing, at little cost for the machine that plays them."""

import socket
import threading
from contextlib import ExitStack

from gitpat_proxy.git.pktline import pkt_line
from tests.support.raw import service_request


class SlowClients:
    """Connections to a port, each of which asks for something and then stalls; closed in the end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._opened = ExitStack()
        self._dripping: list[socket.socket] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def stop_reading(self, number: int, clone: bytes) -> None:
        """Send a request so often, and take no more of the answers than the first byte of each."""
        connections = [self._connect() for _ in range(number)]
        for connection in connections:
            connection.sendall(clone)
        for connection in connections:
            assert connection.recv(1), "the connection was closed"

    def stay_idle(self, number: int) -> None:
        """Connect, and say nothing."""
        for _ in range(number):
            self._connect()

    def drip(self, number: int, secret: str) -> None:
        """Begin pushes whose packs come a byte a second."""
        command = b"%s %s refs/heads/dripped\0report-status" % (b"0" * 40, b"1" * 40)
        body = pkt_line(command) + b"0000PACK"
        request = service_request("git-receive-pack", secret, body, "Content-Length: 1000000")
        for _ in range(number):
            connection = self._connect()
            connection.sendall(request)
            self._dripping.append(connection)

    def vanish(self) -> None:
        """Close all connections."""
        self._ended.set()
        self._thread.join()
        self._opened.close()

    def _connect(self) -> socket.socket:
        connection = self._opened.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", self._port))
        return connection

    def _drip(self) -> None:
        while not self._ended.wait(1):
            for connection in list(self._dripping):
                try:
                    connection.sendall(b"x")
                except OSError:
                    # The proxy has had enough of this one.
                    self._dripping.remove(connection)
