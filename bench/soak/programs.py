"""Programs and browsers: the API, the pages, the checks of a load balancer."""

import itertools

from bench.soak.ledger import Ledger, UnexpectedError
from bench.soak.site import Site

_PAGES = ["/-/health", "/-/ready", "/-/sign-in", "/-/found", "/-/api/v1/openapi.json", "/-/api/"]


class Reader:
    """Looks at everything that changes nothing."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._ledger = site, ledger

    def __call__(self) -> None:
        for path in _PAGES:
            status, body = self._site.http("GET", path)
            if status != 200 or not body:
                raise UnexpectedError(f"status {status}", f"{path}: {body[:500]!r}")
            self._ledger.done("page")
        for path in (
            "/self",
            "/tokens?status=all&limit=100",
            "/tokens?status=active",
            "/activity?since=1h",
        ):
            self._site.api(self._site.manager, "GET", path, due=200)
            self._ledger.done("API, reading")


class Disturbance:
    """Something that happens now and then to the proxy itself."""

    def __init__(self, site: Site, ledger: Ledger, kind: str, every: float) -> None:
        self._site, self._ledger, self._kind, self._every = site, ledger, kind, every
        self._turns = itertools.count()

    def __call__(self) -> None:
        if self._site.over.wait(self._every):
            return
        if self._kind == "kill -9 of the proxy":
            self._site.kill_front()
        else:
            self._site.reload_front()
        self._ledger.done(self._kind)
