"""How often an address may guess."""

import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from gitpat_proxy.access.address import Address, network_of

_FOUND_PER_MINUTE = 10
_MOST_REMEMBERED = 100_000
"""Beyond so many addresses and tokens within a minute the count begins anew: memory is bounded."""


class Throttle:
    """Counts distinct unknown tokens by address, IPv6 by /64, which is what one customer has.

    The same token again is a misconfigured machine and no guess: it counts once a minute.
    """

    def __init__(self, unknown_tokens_per_minute: int) -> None:
        self._storage = MemoryStorage()
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._limit = RateLimitItemPerMinute(unknown_tokens_per_minute)
        self._once = RateLimitItemPerMinute(1)
        self._found = RateLimitItemPerMinute(_FOUND_PER_MINUTE, namespace="FOUND")

    def count_unknown(self, address: Address | None, digest: bytes) -> int | None:
        """Count an unknown token by its digest.

        Return None as long as the address may go on, else after how many seconds it may again. A
        Unix socket whose proxy names no client is not counted.
        """
        if address is None:
            return None
        network = self._network(address)
        if self._limiter.test(self._limit, network):
            if self._limiter.hit(self._once, network, digest.hex()):
                self._limiter.hit(self._limit, network)
            return None
        return self._seconds_left(self._limit, network)

    def count_found(self, address: Address | None) -> int | None:
        """Count a secret that somebody says to have found; return as `count_unknown` does."""
        if address is None:
            return None
        network = self._network(address)
        return (
            None if self._limiter.hit(self._found, network) else self._seconds_left(self._found, network)
        )

    def _network(self, address: Address) -> str:
        if len(self._storage.storage) > _MOST_REMEMBERED:
            self._storage.reset()
        return str(network_of(address))

    def _seconds_left(self, limit: RateLimitItem, network: str) -> int:
        window = self._limiter.get_window_stats(limit, network)
        return max(1, math.ceil(window.reset_time - time.time()))
