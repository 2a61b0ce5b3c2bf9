"""Hashes of people's passwords: the only place that knows passlib."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from gitpat_proxy.services.errors import ServiceError

if TYPE_CHECKING:
    from passlib.context import CryptContext

Result = TypeVar("Result")

_AT_ONCE = 2
_MOST_WAITING = 50

# passlib raises a TypeError for base64 that is cut off.
_UNUSABLE = (ValueError, TypeError)
# Takes as long to look at as anybody's, and fits nothing that can be typed.
_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "A" * 43


@cache
def _context() -> "CryptContext":
    from passlib.context import CryptContext  # noqa: PLC0415 - most commands start without it

    return CryptContext(
        # The first is what new ones get; the others are what htpasswd files have.
        schemes=[
            "argon2",
            "bcrypt",
            "sha512_crypt",
            "sha256_crypt",
            "apr_md5_crypt",
            "ldap_sha1",
        ],
        deprecated=["auto"],
        # OWASP's Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
        argon2__memory_cost=19 * 1024,
        argon2__time_cost=2,
        argon2__parallelism=1,
    )


class BusyError(ServiceError):
    """Too many passwords are being looked at."""


class Passwords:
    """Hashes off the event loop, so many at once and no more: each takes memory and a core."""

    def __init__(self) -> None:
        _context()  # A server has no time to load it later, and perhaps no descriptor.
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="password")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the Argon2id hash of a password; raises BusyError."""
        return await self._run(_context().hash, password)

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Tell whether the password fits, and the hash that should replace this one, if any.

        Without a hash it takes as long and is wrong. Raises BusyError.
        """
        return await self._run(_verify, password, hashed)

    async def _run(self, function: Callable[..., Result], *arguments: object) -> Result:
        if self._waiting >= _MOST_WAITING:
            raise BusyError("too many people are signing in at the moment; try again in a minute")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            self._waiting -= 1


def _verify(password: str, hashed: str | None) -> tuple[bool, str | None]:
    try:
        fits, replacement = _context().verify_and_update(password, hashed or _NOBODYS)
    except _UNUSABLE:
        # What this kind of hash can't have been made from: too long for bcrypt, say.
        return False, None
    return fits and hashed is not None, replacement


def is_usable_hash(text: str) -> bool:
    """Tell whether it is a hash that can be verified, and a whole one."""
    handler = _context().identify(text, resolve=True)
    if handler is None:
        return False
    try:
        return handler.from_string(text).checksum is not None
    except _UNUSABLE:
        return False
