"""A network between client and proxy that stops passing on: what a slow or vanished peer looks like."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class StallingRelay:
    """Passes connections on to a port; of each, so many bytes in a direction and no more."""

    def __init__(
        self, port: int, *, client_bytes: int | None = None, proxy_bytes: int | None = None
    ) -> None:
        self._target = port
        self._client_bytes = client_bytes
        self._proxy_bytes = proxy_bytes
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.port = int(self._server.getsockname()[1])
        self.stalled = threading.Event()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        # One that is accepted at this moment is closed, too.
        _end(self._server)
        self._accepting.join()
        for connection in [self._server, *self._connections]:
            _end(connection)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._connections.append(client)
                try:
                    proxy = socket.create_connection(("127.0.0.1", self._target))
                except ConnectionRefusedError:
                    # Who tries once more after the proxy has died must not wait here for ever.
                    client.close()
                    continue
                self._connections.append(proxy)
                self._start(self._pass_up, client, proxy)
                self._start(self._pass_down, proxy, client)

    @staticmethod
    def _start(target: Callable[..., None], source: socket.socket, sink: socket.socket) -> None:
        threading.Thread(target=target, args=(source, sink), daemon=True).start()

    def _pass_up(self, client: socket.socket, proxy: socket.socket) -> None:
        """What the client sends beyond the stall is lost, so that its end can still be seen."""
        left = self._client_bytes
        with suppress(OSError):
            while data := client.recv(65536):
                if left is not None:
                    # Nothing beyond a gap: the proxy would see a broken body, not one that stalls.
                    if len(data) > left:
                        self.stalled.set()
                    data = data[:left]
                    left -= len(data)
                proxy.sendall(data)
        _end(proxy)

    def _pass_down(self, proxy: socket.socket, client: socket.socket) -> None:
        """Beyond the stall nobody takes what the proxy sends."""
        left = self._proxy_bytes
        with suppress(OSError):
            while data := proxy.recv(65536):
                client.sendall(data)
                left = None if left is None else left - len(data)
                if left is not None and left < 0:
                    self.stalled.set()
                    return
        _end(client)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
