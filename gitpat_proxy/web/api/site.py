"""The API as a part of the application."""

from aiohttp import web

from gitpat_proxy.expectation import keep_waiting
from gitpat_proxy.web.api.api import Api
from gitpat_proxy.web.api.call import ApiParts
from gitpat_proxy.web.api.caller import CallerFinder
from gitpat_proxy.web.visitor import Visitors


def add_api(app: web.Application, parts: ApiParts, visitors: Visitors) -> None:
    """Have the application answer below /-/api/."""
    api = Api(parts, CallerFinder(parts.authentication, visitors))
    app.router.add_route("*", "/-/api/{rest:(?s:.+)}", api.handle, expect_handler=keep_waiting)
