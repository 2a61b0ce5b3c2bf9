"""What all pages share: who may see them, what every answer carries, and what is said when it fails."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlencode, urlsplit

import aiohttp_jinja2
import jinja2
import structlog
from aiohttp import hdrs, web

from gitpat_proxy.access.model import Account, Clock, Session
from gitpat_proxy.access.representation import time_text
from gitpat_proxy.config.model import Config
from gitpat_proxy.expectation import keep_waiting
from gitpat_proxy.services.errors import NotFoundError, ServiceError
from gitpat_proxy.store.errors import DatabaseError
from gitpat_proxy.web.pages.forms import Form, FormError, read_form
from gitpat_proxy.web.pages.static import Static
from gitpat_proxy.web.pages.words import NOTICES, date_text, moment_text, relative_text, sentence_of
from gitpat_proxy.web.visitor import Visitor, Visitors

_TEMPLATES = Path(__file__).parents[1] / "templates"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    hdrs.CACHE_CONTROL: "no-store",
}

_log = structlog.get_logger()


class For(Enum):
    """Whom a page is for."""

    ANYBODY = "anybody"
    PEOPLE = "people"
    """Who is signed in."""
    PEOPLE_CONFIRMED = "people, confirmed"
    """Who has given the password within half an hour."""
    ADMINISTRATORS = "administrators"
    """Confirmed ones."""


@dataclass
class Page:
    """One request for a page, from somebody who may see it."""

    request: web.Request
    visitor: Visitor
    form: Form
    frame: "Frame"
    started: float = field(default_factory=time.monotonic)
    code: str | None = None
    """For the log: what kind of try to get in failed."""

    @property
    def account(self) -> Account:
        if self.visitor.account is None:
            raise RuntimeError("the page is not for strangers")
        return self.visitor.account

    @property
    def session(self) -> Session:
        if self.visitor.session is None:
            raise RuntimeError("the page is not for strangers")
        return self.visitor.session

    @property
    def now(self) -> datetime:
        return self.frame.clock()

    @property
    def is_post(self) -> bool:
        return self.request.method == "POST"

    def query(self, name: str) -> str:
        return self.request.query.get(name, "")

    def part(self, name: str) -> str:
        """Return a part of the address."""
        return self.request.match_info[name]

    def render(self, template: str, http_status: int = 200, /, **variables: object) -> web.Response:
        return self.frame.render(self, template, http_status, variables)

    def message(
        self, status: int, title: str, sentence: str, *next_steps: tuple[str, str]
    ) -> web.Response:
        """Answer with a sentence and what to do next: words and addresses."""
        steps = [{"text": text, "url": url} for text, url in next_steps]
        return self.render(
            "message.html", status, title=title, sentence=sentence, next_steps=steps, section=""
        )

    def dress(self, response: web.StreamResponse) -> None:
        """Give an answer that has not begun what all of them carry."""
        self.visitor.set_cookies(response)
        response.headers.update({k: v for k, v in _HEADERS.items() if k not in response.headers})

    def redirect(self, address: str, notice: str = "") -> web.Response:
        """Send the browser on with a GET, so that a reload does nothing again."""
        if notice:
            address += ("&" if "?" in address else "?") + urlencode({"notice": notice})
        return web.Response(status=303, headers={hdrs.LOCATION: address})


Handler: TypeAlias = Callable[[Page], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class PageRoute:
    """An address below /-/, who may see it, and what answers. With `posts` it takes forms, too."""

    path: str
    audience: For
    handler: Handler
    gets: bool = True
    posts: bool = False


class Frame:
    """Puts handlers behind what all pages share."""

    def __init__(
        self, app: web.Application, config: Config, clock: Clock, visitors: Visitors, static: Static
    ) -> None:
        self.config = config
        self.clock = clock
        self._router = app.router
        self._visitors = visitors
        templates = aiohttp_jinja2.setup(
            app,
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.filters |= {
            "date": date_text,
            "moment": moment_text,
            "iso": time_text,
            "ago": lambda moment: relative_text(moment, self.clock()),
        }
        templates.globals |= {
            "static": static.url,
            "public_url": config.public_url,
            "public_host": urlsplit(config.public_url).netloc,
        }

    def add(self, routes: Sequence[PageRoute]) -> None:
        """Let the router know the pages."""
        for route in routes:
            answer = self._behind(route)
            if route.gets:
                self._router.add_get(route.path, answer)
            if route.posts:
                self._router.add_post(route.path, answer, expect_handler=keep_waiting)

    def render(
        self,
        page: Page,
        template: str,
        http_status: int,
        variables: Mapping[str, object],
    ) -> web.Response:
        shared: Mapping[str, object] = {
            "account": page.visitor.account,
            "csrf": page.visitor.csrf,
            "notice": NOTICES.get(page.query("notice")),
            "now": self.clock(),
        }
        context = {**shared, **variables}
        return aiohttp_jinja2.render_template(template, page.request, context, status=http_status)

    def _behind(self, route: PageRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            visitor = self._visitors.stranger(request)
            page = Page(request, visitor, Form({}), self)
            try:
                response = await self._answer(page, route)
            except DatabaseError as error:
                _log.error("database_failed", request=visitor.visit.request, reason=str(error))
                response = _unavailable(page)
            except Exception:
                # The outermost edge: whatever fails is told, and its cause is in the log.
                _log.exception("failed", request=visitor.visit.request)
                response = _failed(page)
            if not response.prepared:
                page.dress(response)
            _log_line(page, response)
            return response

        return answer

    async def _answer(self, page: Page, route: PageRoute) -> web.StreamResponse:
        if not page.visitor.sheltered:
            return _needs_tls(page)
        try:
            await self._visitors.recognize(page.request, page.visitor)
            if page.is_post:
                page.form = await read_form(page.request)
                csrf = page.form.text("csrf")
                if not self._visitors.came_from_a_page_of_ours(page.request, page.visitor, csrf):
                    return _not_from_our_page(page)
            return _turned_away(page, route) or await route.handler(page)
        except FormError as error:
            return page.message(400, "That can't be read", str(error), ("Start again", "/-/"))
        except NotFoundError as error:
            return page.message(
                404, "Nothing here", sentence_of(error.sentence), ("Your tokens", "/-/tokens")
            )
        except ServiceError as error:
            return page.message(
                409, "That can't be done", sentence_of(error.sentence), ("Your tokens", "/-/tokens")
            )


def _is_spelled_out(request: web.Request, route: PageRoute) -> bool:
    """Tell whether an address has its fixed parts as they are: quoted, they are another address.

    A proxy in front that keeps people from `/-/administration` may not know `/%2d/administration`.
    """
    parts = zip(request.rel_url.raw_path.split("/"), route.path.split("/"), strict=True)
    return all(sent == own or own.startswith("{") for sent, own in parts)


def _turned_away(page: Page, route: PageRoute) -> web.Response | None:
    """Return what those get who may not see the page, or not yet."""
    audience = route.audience
    if not _is_spelled_out(page.request, route):
        return _not_there(page)
    if audience is For.ANYBODY:
        return None
    if page.visitor.account is None:
        return page.redirect("/-/sign-in?" + urlencode({"next": _way_back(page, route)}))
    if audience is For.ADMINISTRATORS and not page.account.administrator:
        return _not_there(page)
    if audience is not For.PEOPLE and not page.session.is_fresh(page.now):
        return page.redirect("/-/confirm?" + urlencode({"next": _way_back(page, route)}))
    return None


def _way_back(page: Page, route: PageRoute) -> str:
    """Return where to go on afterwards: a form that was sent is offered again as it was filled in.

    One without a page of its own stands on the page above.
    """
    if not route.gets:
        return page.request.path.rpartition("/")[0]
    fields = list(page.request.query.items())
    if page.is_post:
        fields = [(n, v) for n, vs in page.form.fields.items() for v in vs if n in _OFFERED_AGAIN]
    query = urlencode(fields)
    return page.request.path + (f"?{query}" if fields and len(query) <= _LONGEST_WAY_BACK else "")


_LONGEST_WAY_BACK = 1000
"""It is quoted once more in another address, of which no more than some thousands can come."""
_OFFERED_AGAIN = {"name", "expires", "date", "scope", "reason", "administrator", "service"}


def _log_line(page: Page, response: web.StreamResponse) -> None:
    visit = page.visitor.visit
    _log.info(
        "page",
        request=visit.request,
        address=visit.address_text,
        method=page.request.method,
        path=page.request.path,
        account=page.visitor.account and page.visitor.account.name,
        status=response.status,
        code=page.code,
        seconds=round(time.monotonic() - page.started, 4),
    )


def _not_there(page: Page) -> web.Response:
    sentence = "There is no such page, or it is not for you."
    return page.message(404, "Nothing here", sentence, ("Your tokens", "/-/tokens"))


def _needs_tls(page: Page) -> web.Response:
    sentence = (
        "Passwords and tokens must not cross a network in clear. Ask those who run this proxy for its "
        "https:// address, or to set public_url to it."
    )
    return page.message(403, "This page needs https", sentence)


def _not_from_our_page(page: Page) -> web.Response:
    sentence = (
        "The form did not come from a page that is still valid. It may be old, or your browser blocks "
        "cookies. Nothing was changed."
    )
    return page.message(403, "Try that again", sentence, ("Open the page again", page.request.path))


def _unavailable(page: Page) -> web.Response:
    sentence = "This proxy can't reach its database at the moment. Tell those who run it."
    return page.message(503, "Not available", sentence, ("Try again", page.request.path))


def _failed(page: Page) -> web.Response:
    number = page.visitor.visit.request
    sentence = f"That is our mistake. Tell those who run this proxy, with the number {number}."
    return page.message(500, "Something failed", sentence, ("Your tokens", "/-/tokens"))
