"""A network between client and proxy that stops passing on: what a slow or vanished peer looks like."""

import socket
import threading
from contextlib import suppress


class StallingRelay:
    """Passes connections on to a port; of each, so many bytes from the client and no more."""

    def __init__(self, port: int, client_bytes: int) -> None:
        self._target = port
        self._client_bytes = client_bytes
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.port = int(self._server.getsockname()[1])
        self.stalled = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for connection in [self._server, *self._connections]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                proxy = socket.create_connection(("127.0.0.1", self._target))
                self._connections += [client, proxy]
                for source, sink, most in [
                    (client, proxy, self._client_bytes),
                    (proxy, client, None),
                ]:
                    threading.Thread(
                        target=self._pass_on, args=(source, sink, most), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, most: int | None) -> None:
        """Where the source ends or breaks, so does the sink; a stall ends with the source."""
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                if most is not None and passed + len(data) > most:
                    self.stalled.set()
                    continue
                passed += len(data)
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
