"""How often an address may guess."""

import math
import time
from sqlite3 import Connection

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from gitpat_proxy.access.address import Address, network_of
from gitpat_proxy.config.model import Config
from gitpat_proxy.shared import Shared

_FOUND = RateLimitItemPerMinute(10, namespace="FOUND")
_ONCE = RateLimitItemPerMinute(1)
_LONGEST_SECONDS = 60
"""What seems to end later was counted while the clock was ahead, and is over."""
_MOST_REMEMBERED = 100_000
"""Beyond so many addresses and tokens within a minute the count begins anew: memory is bounded."""


class Throttle:
    """Counts distinct unknown tokens by address, IPv6 by /64, which is what one customer has.

    The same token again is a misconfigured machine and no guess: it counts once a minute.
    """

    def __init__(self, shared: Shared, config: Config) -> None:
        self._config = config
        self._limiter = FixedWindowRateLimiter(_Counts(shared))

    def count_unknown(self, address: Address | None, digest: bytes) -> int | None:
        """Count an unknown token by its digest.

        Return None as long as the address may go on, else after how many seconds it may again. A
        Unix socket whose proxy names no client is not counted. Raises DatabaseError.
        """
        if address is None:
            return None
        limit = RateLimitItemPerMinute(self._config.limits.unknown_tokens)
        network = str(network_of(address))
        if self._limiter.test(limit, network):
            once = network, digest.hex()
            # First a look, which needs no lock: most who come again were counted a moment ago.
            if self._limiter.test(_ONCE, *once) and self._limiter.hit(_ONCE, *once):
                self._limiter.hit(limit, network)
            return None
        return self._seconds_left(limit, network)

    def count_found(self, address: Address | None) -> int | None:
        """Count a secret that somebody says to have found; return as `count_unknown` does."""
        if address is None:
            return None
        network = str(network_of(address))
        return None if self._limiter.hit(_FOUND, network) else self._seconds_left(_FOUND, network)

    def _seconds_left(self, limit: RateLimitItem, network: str) -> int:
        window = self._limiter.get_window_stats(limit, network)
        return max(1, math.ceil(window.reset_time - time.time()))


class _Counts(Storage):
    """Keeps the counts of `limits` where all workers see them."""

    STORAGE_SCHEME = None

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self._shared = shared

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        with self._shared.transaction() as connection:
            _remove_what_is_over(connection, now)
            [(count,)] = connection.execute(
                "INSERT INTO counts (name, amount, ends) VALUES (?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET amount = amount + excluded.amount RETURNING amount",
                (key, amount, now + expiry),
            ).fetchall()
        return int(count)

    def get(self, key: str) -> int:
        return int(self._row(key)[0])

    def get_expiry(self, key: str) -> float:
        return float(self._row(key)[1])

    def check(self) -> bool:
        return True

    def reset(self) -> None:
        with self._shared.transaction() as connection:
            connection.execute("DELETE FROM counts")

    def clear(self, key: str) -> None:
        with self._shared.transaction() as connection:
            connection.execute("DELETE FROM counts WHERE name = ?", (key,))

    def _row(self, key: str) -> tuple[int, float]:
        now = time.time()
        rows = self._shared.rows(
            "SELECT amount, ends FROM counts WHERE name = ? AND ends > ? AND ends <= ?",
            (key, now, now + _LONGEST_SECONDS),
        )
        return rows[0] if rows else (0, now)


def _remove_what_is_over(connection: Connection, now: float) -> None:
    """And all, if that leaves too much; the ids tell how much, as they grow."""
    connection.execute("DELETE FROM counts WHERE ends <= ? OR ends > ?", (now, now + _LONGEST_SECONDS))
    much = "SELECT (SELECT max(id) FROM counts) - (SELECT min(id) FROM counts) >= ?"
    if connection.execute(much, (_MOST_REMEMBERED,)).fetchone()[0]:
        connection.execute("DELETE FROM counts")
