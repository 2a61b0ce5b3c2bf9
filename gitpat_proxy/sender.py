"""Who sends a request: what the connection and the proxies in front tell of it."""

from collections.abc import Sequence

from aiohttp import web

from gitpat_proxy.access.address import Address, client_address, is_within
from gitpat_proxy.access.model import Network


def address_of(request: web.Request, trusted: Sequence[Network]) -> Address | None:
    """Return the client's address; None: a Unix socket whose proxy names no client."""
    return client_address(_peer_of(request), request.headers.getall("X-Forwarded-For", ()), trusted)


def is_sent_by(request: web.Request, networks: Sequence[Network]) -> bool:
    """Tell whether the connection's other end lies in one of the networks."""
    return is_within(_peer_of(request), networks)


def is_sent_by_socket(request: web.Request) -> bool:
    """Tell whether it came by a Unix socket, which only this machine's own proxy can open."""
    return _peer_of(request) is None


def _peer_of(request: web.Request) -> str | None:
    """Return the other end's address; None for a Unix socket.

    Of a connection whose end nobody kept, as one that is gone, it is an address that nobody has: to
    take it for a Unix socket would be to believe whatever it says.
    """
    return _NOBODY if request.remote is None else request.remote or None


_NOBODY = "0.0.0.0"  # noqa: S104 - nothing listens there
