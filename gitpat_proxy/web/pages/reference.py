"""What the API can do, for people to read."""

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from gitpat_proxy.web.pages.frame import For, Page, PageRoute


class ReferencePages:
    """The page below the footer's "API"; what it shows is made from the API's own document."""

    def __init__(self, reference: Callable[[], Mapping[str, object]]) -> None:
        self._reference = reference

    def routes(self) -> Sequence[PageRoute]:
        return [
            PageRoute("/-/api/", For.ANYBODY, self.show),
            PageRoute("/-/api", For.ANYBODY, self.to_show),
        ]

    async def show(self, page: Page) -> web.StreamResponse:
        return page.render("api.html", section="api", **self._reference())

    async def to_show(self, page: Page) -> web.StreamResponse:
        return page.redirect("/-/api/")
