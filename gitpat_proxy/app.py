"""The parts list: the only place that knows them all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import cache, partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gitpat_proxy import __version__
from gitpat_proxy.access.lifetime import lifetime_of
from gitpat_proxy.access.model import Clock
from gitpat_proxy.admission import Admission
from gitpat_proxy.authentication import Authentication
from gitpat_proxy.backends.answers import Answers
from gitpat_proxy.backends.base import Backend
from gitpat_proxy.backends.http_backend import HttpBackend
from gitpat_proxy.backends.upstream import Upstream
from gitpat_proxy.config.model import Config, RouteConfig
from gitpat_proxy.expectation import keep_waiting
from gitpat_proxy.gate import Gate, GateParts, framing_problem
from gitpat_proxy.routes import Route, ref_problem
from gitpat_proxy.services.access import Access
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.audit import Recorder, prune_regularly
from gitpat_proxy.services.clock import unhurried
from gitpat_proxy.services.explanations import Explanations
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.shared import Shared
from gitpat_proxy.shortcut import Shortcut
from gitpat_proxy.store.database import Database
from gitpat_proxy.throttle import Throttle
from gitpat_proxy.uses import Uses
from gitpat_proxy.watch import Watch
from gitpat_proxy.web.api.call import ApiParts
from gitpat_proxy.web.api.document import document
from gitpat_proxy.web.api.reference import reference
from gitpat_proxy.web.api.site import add_api
from gitpat_proxy.web.health import health, nothing_here, ready, to_the_pages
from gitpat_proxy.web.pages.site import PageParts, add_pages
from gitpat_proxy.web.visitor import Visitors

GATE = web.AppKey("gate", Gate)
SHORTCUT = web.AppKey("shortcut", Shortcut)


def make_app(
    config: Config, access: Access, database: Database, shared: Shared, clock: Clock
) -> web.Application:
    """Put the parts together; they begin to work when the application starts."""
    tokens = Tokens(database, clock, config)
    passwords = Passwords()
    sessions = Sessions(database, clock)
    sign_in = SignIn(database, clock, passwords)
    visitors = Visitors(config, sessions, sign_in)
    throttle = Throttle(shared, config)
    authentication = Authentication(tokens, throttle)
    recorder = Recorder(database)
    explanations = Explanations(
        database, tokens, access, clock, config, partial(ref_problem, config.routes, looks_on_disk=False)
    )
    # It takes as long as a tenth of a start, and hardly anybody asks for it.
    described = cache(partial(document, config.public_url, __version__))
    pages = PageParts(
        config=config,
        clock=clock,
        database=database,
        accounts=Accounts(database, clock, passwords),
        tokens=tokens,
        explanations=explanations,
        sessions=sessions,
        sign_in=sign_in,
        throttle=throttle,
        visitors=visitors,
        reference=lambda: reference(described()),
    )
    api = ApiParts(
        config, database, tokens, explanations, authentication, throttle, recorder, clock, described
    )
    app = web.Application(middlewares=[_refuse_what_has_no_clear_end])
    gate = GateParts(
        config=config,
        access=access,
        authentication=authentication,
        admission=Admission(shared, config),
        recorder=recorder,
        watch=Watch(tokens, clock),
        uses=Uses(tokens),
        clock=clock,
    )
    app.cleanup_ctx.append(_opened(database, shared))
    app.cleanup_ctx.append(_gate_between(gate))
    app.cleanup_ctx.append(_pruning(config, database, clock))
    app.on_response_prepare.append(_finish_head)
    app.router.add_get("/-/ready", ready(database, access))
    add_pages(app, pages)
    add_api(app, api, visitors)
    _add_the_rest(app)
    return app


def _add_the_rest(app: web.Application) -> None:
    """Add what needs no parts, and last what takes all that nobody else does."""
    app.router.add_get("/", to_the_pages)
    app.router.add_get("/-/health", health)
    app.router.add_route("*", "/-/{rest:(?s:.*)}", nothing_here, expect_handler=keep_waiting)
    app.router.add_route("*", "/{rest:(?s:.*)}", _handle_git, expect_handler=keep_waiting)


def _opened(database: Database, shared: Shared) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what closes them when nothing uses them any more."""

    async def opened(_app: web.Application) -> AsyncIterator[None]:
        async with database:
            yield
        shared.close()

    return opened


def _gate_between(parts: GateParts) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what opens the gate, with the backends behind it, and closes it in the end."""

    async def gate(app: web.Application) -> AsyncIterator[None]:
        config = parts.config
        answers = Answers(config)
        routes = [
            Route(r.segments, backend_of(r, config, answers), r.dumb_protocol) for r in config.routes
        ]
        parts.recorder.start()
        watching = asyncio.create_task(parts.watch.run())
        app[GATE] = Gate(parts, routes)
        app[SHORTCUT] = Shortcut(parts, routes)
        yield
        await app[GATE].close()
        watching.cancel()
        for route in routes:
            await route.backend.close()
        await parts.recorder.close()

    return gate


def _pruning(
    config: Config, database: Database, clock: Clock
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what keeps the audit as long as the configuration says."""

    async def pruning(_app: web.Application) -> AsyncIterator[None]:
        keep = lifetime_of(config.audit.keep)
        task = keep and asyncio.create_task(prune_regularly(database, unhurried(clock), keep))
        yield
        if task:
            task.cancel()
            await asyncio.wait([task])

    return pruning


async def _handle_git(request: web.Request) -> web.StreamResponse:
    return await request.app[GATE].handle(request)


@web.middleware
async def _refuse_what_has_no_clear_end(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The gate does so itself, with a line in the log."""
    problem = None if request.match_info.handler is _handle_git else framing_problem(request)
    if problem:
        return web.Response(status=400, text=f"The request can't be answered: {problem}.\n")
    return await handler(request)


async def _finish_head(request: web.Request, response: web.StreamResponse) -> None:
    """Put into the head what every answer has, whoever made it.

    aiohttp would tell its version and Python's, which are for those who run it alone.
    """
    response.headers[hdrs.SERVER] = "gitpat-proxy"
    if _is_last(request, response):
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"


def _is_last(request: web.Request, response: web.StreamResponse) -> bool:
    """Tell whether the connection must end: what comes next may be read otherwise than it was meant.

    aiohttp (3.14) takes the last line of a chunked body's trailer for a header of the next request,
    which a proxy in front may send for somebody else.
    """
    return (
        response.status == 400
        or request.method == hdrs.METH_CONNECT
        or hdrs.TRANSFER_ENCODING in request.headers
    )


def backend_of(route: RouteConfig, config: Config, answers: Answers) -> Backend:
    """Make a route's backend, inside a running event loop.

    Raises OSError, with a sentence, if a file, a variable or a program that it needs is not there.
    """
    if route.repositories is not None:
        return HttpBackend(route.repositories, config, answers)
    return Upstream(route)
