"""The parts list: the only place that knows them all."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from aiohttp import web

from gitpat_proxy.access.model import Clock
from gitpat_proxy.backends.base import Backend
from gitpat_proxy.backends.http_backend import HttpBackend
from gitpat_proxy.backends.upstream import Upstream
from gitpat_proxy.config.model import Config, RouteConfig
from gitpat_proxy.gate import Gate, GateSettings
from gitpat_proxy.routes import Route
from gitpat_proxy.services.audit import Recorder
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.throttle import Throttle
from gitpat_proxy.web.health import health, nothing_here, ready

_GATE = web.AppKey("gate", Gate)


def make_app(config: Config, database: Database, clock: Clock) -> web.Application:
    """Put the parts together; they begin to work when the application starts."""

    async def gate(app: web.Application) -> AsyncIterator[None]:
        routes = [Route(r.segments, backend_of(r, config), r.dumb_protocol) for r in config.routes]
        recorder = Recorder(database)
        app[_GATE] = Gate(
            GateSettings(
                routes,
                config.trusted_proxies,
                config.missing_scope_status,
                config.limits.operations,
            ),
            Tokens(database, clock, config),
            recorder,
            Throttle(config.limits.unknown_tokens),
            clock,
        )
        yield
        await app[_GATE].close()
        for route in routes:
            await route.backend.close()
        await recorder.close()

    async def handle_git(request: web.Request) -> web.StreamResponse:
        return await request.app[_GATE].handle(request)

    app = web.Application()
    app.cleanup_ctx.append(gate)
    app.on_response_prepare.append(_hide_versions)
    app.router.add_get("/-/health", health)
    app.router.add_get("/-/ready", ready(database))
    app.router.add_route("*", "/-/{rest:.*}", nothing_here)
    app.router.add_route("*", "/{rest:.*}", handle_git, expect_handler=_leave_to_the_gate)
    return app


async def _hide_versions(_request: web.Request, response: web.StreamResponse) -> None:
    """Replace what aiohttp would say: its version and Python's are for those who run it alone."""
    response.headers["Server"] = "gitpat-proxy"


async def _leave_to_the_gate(_request: web.Request) -> None:
    """Nobody is told to send a body before the gate wants it."""


def backend_of(route: RouteConfig, config: Config) -> Backend:
    """Make a route's backend, inside a running event loop.

    Raises OSError, with a sentence, if a file, a variable or a program that it needs is not there.
    """
    if route.repositories is not None:
        return HttpBackend(route.repositories, urlsplit(config.public_url).hostname or "localhost")
    return Upstream(route)
