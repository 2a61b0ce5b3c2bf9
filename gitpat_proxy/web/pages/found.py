"""A page where anyone may paste a secret that they found: it ends at once, if it is one of ours."""

from collections.abc import Sequence

from aiohttp import hdrs, web

from gitpat_proxy.access.model import Author
from gitpat_proxy.services.errors import FactsError
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.throttle import Throttle
from gitpat_proxy.web.pages.frame import For, Page, PageRoute
from gitpat_proxy.web.pages.words import sentence_of


class FoundPages:
    """The page behind "Found a token?"."""

    def __init__(self, tokens: Tokens, throttle: Throttle) -> None:
        self._tokens = tokens
        self._throttle = throttle

    def routes(self) -> Sequence[PageRoute]:
        return [PageRoute("/-/found", For.ANYBODY, self.found, posts=True)]

    async def found(self, page: Page) -> web.StreamResponse:
        if not page.is_post:
            return self._render(page)
        secret, visit = page.form.text("secret").strip(), page.visitor.visit
        if not secret:
            return self._render(page, {"secret": "Paste what you found."})
        if seconds := self._throttle.count_found(visit.address):
            page.code = "throttled"
            response = self._render(
                page, {"form": f"Too many came from you. Wait {seconds} seconds."}, 429
            )
            response.headers[hdrs.RETRY_AFTER] = str(seconds)
            return response
        finder = Author("somebody who found it", visit.address_text, visit.request)
        try:
            await self._tokens.revoke_found(secret, page.form.text("note"), by=finder)
        except FactsError as error:
            return self._render(page, {"note": sentence_of(error.problems["reason"])})
        return page.render("found.html", section="found", errors={}, done=True)

    def _render(
        self, page: Page, errors: dict[str, str] | None = None, status: int | None = None
    ) -> web.Response:
        return page.render(
            "found.html",
            status or (422 if errors else 200),
            section="found",
            errors=errors or {},
            done=False,
            values={"note": page.form.text("note")},
        )
