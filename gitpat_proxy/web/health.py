"""Is it alive, and can it serve: for load balancers and process managers."""

import shutil
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from gitpat_proxy.services.access import Access
from gitpat_proxy.store.database import Database, check_revision
from gitpat_proxy.store.errors import DatabaseError

_OLD_RULES = (
    "The access file can't be used, and the rules from before hold; `gitpat-proxy check` says why.\n"
)


async def health(_request: web.Request) -> web.Response:
    """Answer as long as there is a process that can."""
    return web.Response(text="alive\n")


def ready(database: Database, access: Access) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that tries the database and git; 503 says that one fails, not how.

    A file of rules that can't be used is no reason to take the proxy out of service: it serves by
    the rules from before, and says so.
    """

    async def handler(_request: web.Request) -> web.Response:
        if not shutil.which("git") or not await _usable(database):
            return web.Response(status=503, text="not ready; `gitpat-proxy check` says why\n")
        return web.Response(text=f"ready\n{_OLD_RULES if access.problem else ''}")

    return handler


async def _usable(database: Database) -> bool:
    try:
        await check_revision(database)
    except DatabaseError:
        return False
    return True


async def to_the_pages(_request: web.Request) -> web.Response:
    """Answer for the address that is no repository's, and that people type into a browser."""
    return web.Response(status=303, headers={hdrs.LOCATION: "/-/"})


async def nothing_here(_request: web.Request) -> web.Response:
    """Answer for what below /-/ is no address."""
    return web.Response(status=404, text="There is nothing at this address.\n")
