"""From where a request comes, when others may have passed it on."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

from gitpat_proxy.access.model import Network

Address: TypeAlias = IPv4Address | IPv6Address


def client_address(
    peer: str | None, forwarded_for: Sequence[str], trusted: Iterable[Network]
) -> Address | None:
    """Return the right-most address that no trusted proxy has.

    `peer` is the connection's other end, None for a Unix socket, which only the machine's own proxy
    can open; `forwarded_for` the values of all X-Forwarded-For headers. What stands further left was
    written by somebody who is not trusted. None: a Unix socket whose proxy names no client.
    """
    networks = tuple(trusted)
    address = _address_of(peer)
    hops = [hop for value in forwarded_for for hop in value.split(",")]
    while hops and (address is None or any(address in network for network in networks)):
        previous = _address_of(hops.pop())
        if previous is None:
            break
        address = previous
    return address


def is_within(peer: str | None, networks: Iterable[Network]) -> bool:
    """Tell whether the address, as text, lies in one of the networks."""
    address = _address_of(peer)
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=4096)
def network_of(address: Address) -> Network:
    """Return what one sender may have of addresses: IPv6 is given out by /64 at least."""
    return ip_network(f"{address}/64" if address.version == 6 else str(address), strict=False)


@lru_cache(maxsize=4096)
def address_text(address: Address | None) -> str:
    """Return what log and audit call a sender; None: a Unix socket whose proxy names no client."""
    return str(address or "local socket")


@lru_cache(maxsize=4096)
def _address_of(text: str | None) -> Address | None:
    """An IPv4 client of an IPv6 socket is known by its IPv4 address."""
    try:
        address = ip_address((text or "").strip().split("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
