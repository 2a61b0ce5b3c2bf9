"""All pages, put together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from gitpat_proxy.access.model import Clock
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.explanations import Explanations
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.throttle import Throttle
from gitpat_proxy.web.pages.account import AccountPages
from gitpat_proxy.web.pages.activity import ActivityPages
from gitpat_proxy.web.pages.administration import AdministrationPages
from gitpat_proxy.web.pages.explanations import ExplanationPages
from gitpat_proxy.web.pages.found import FoundPages
from gitpat_proxy.web.pages.frame import Frame
from gitpat_proxy.web.pages.reference import ReferencePages
from gitpat_proxy.web.pages.sign_in import SignInPages
from gitpat_proxy.web.pages.static import Static
from gitpat_proxy.web.pages.tokens import TokenPages
from gitpat_proxy.web.visitor import Visitors


@dataclass(frozen=True)
class PageParts:
    """What pages are made with."""

    config: Config
    clock: Clock
    database: Database
    accounts: Accounts
    tokens: Tokens
    explanations: Explanations
    sessions: Sessions
    sign_in: SignIn
    throttle: Throttle
    visitors: Visitors
    reference: Callable[[], Mapping[str, object]]
    """What the page about the API shows."""


def add_pages(app: web.Application, parts: PageParts) -> None:
    """Let the application answer the addresses of the pages."""
    static = Static()
    frame = Frame(app, parts.config, parts.clock, parts.visitors, static)
    for pages in (
        SignInPages(parts.sign_in, parts.sessions),
        TokenPages(parts.tokens, parts.database),
        ActivityPages(parts.tokens, parts.database),
        ExplanationPages(parts.explanations, parts.tokens),
        AccountPages(parts.accounts, parts.sessions, parts.sign_in),
        FoundPages(parts.tokens, parts.throttle),
        AdministrationPages(parts.accounts, parts.tokens),
        ReferencePages(parts.reference),
    ):
        frame.add(pages.routes())
    app.router.add_get("/-/static/{name}", static.serve)
