"""Somebody with a browser, by hand: cookies, the csrf field, forms; and lies that no browser tells."""

import html
import http.client
import re
import sqlite3
import ssl
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from gitpat_proxy.access.model import Author
from gitpat_proxy.app import make_app
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.access import Access
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.shared import Shared
from gitpat_proxy.store.database import Database
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

PASSWORD = "a quite unusual passphrase 7"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
Fields = Mapping[str, str] | Sequence[tuple[str, str]]

_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


@dataclass(frozen=True)
class Page:
    """An answer; headers keep their order and their doubles."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def words(self) -> str:
        """What a person reads: without tags, and in one line."""
        body = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", self.text)
        return re.sub(r"\s+", " ", html.unescape(body))

    def header(self, name: str) -> str | None:
        """Return a header that may come once at most."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def location(self) -> str:
        return self.header("Location") or ""

    @property
    def set_cookies(self) -> list[str]:
        return [value for key, value in self.headers if key.lower() == "set-cookie"]

    @property
    def csrf(self) -> str:
        return self.hidden("csrf")

    def hidden(self, name: str) -> str:
        """Return a hidden field's value; "" if there is none."""
        found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', self.text)
        return html.unescape(found[1]) if found else ""


@dataclass
class Visitor:
    """Talks to a port; `headers` go with every request. `host` is what it calls the other side."""

    port: int
    tls: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    host: str = ""
    source: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Page:
        """Send a request with the cookies that were set before; take those that the answer sets."""
        connection = self._connection()
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            sent = {"Host": self.host or f"localhost:{self.port}", "Connection": "close"}
            if self.cookies:
                sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            if body is not None:
                sent["Content-Length"] = str(len(body))
            for name, value in (sent | self.headers | dict(headers or {})).items():
                connection.putheader(name, value.encode())
            connection.endheaders(body)
            response = connection.getresponse()
            page = Page(response.status, response.getheaders(), response.read())
        finally:
            connection.close()
        self._take(page)
        return page

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Page:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, fields: Fields, headers: Mapping[str, str] | None = SAME_ORIGIN) -> Page:
        """Post the fields as they are: without a csrf field if none is among them."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.send("POST", path, urlencode(fields).encode(), form | dict(headers or {}))

    def submit(self, path: str, fields: Fields = (), *, page: str = "") -> Page:
        """Post a form as a browser does: the page is read first, for the fields that nobody sees."""
        form = self.get(page or path)
        pairs = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
        hidden = ("csrf", "form_key", "version")
        own = [(name, form.hidden(name)) for name in hidden if form.hidden(name)]
        return self.post(path, [*own, *pairs])

    def sign_in(self, name: str = "alice", password: str = PASSWORD, after: str = "") -> "Visitor":
        """Sign in; it must succeed."""
        fields = {"name": name, "password": password, "next": after}
        is_in = self.get("/-/sign-in").status == 303
        page = self.submit("/-/sign-in", fields, page="/-/tokens" if is_in else "")
        assert page.status == 303, f"{page.status}: {page.words}"
        SEEN.passwords.add(self.session)
        return self

    def make_token(self, name: str = "Test", *scopes: str) -> tuple[str, str]:
        """Make a token on the page; return its secret and its id."""
        fields = [("name", name), ("expires", "30d"), *(("scope", s) for s in scopes or ("code:write",))]
        page = self.submit("/-/tokens/add", fields)
        assert page.status == 200, f"{page.status}: {page.words}"
        [secret] = re.findall(r'value="(gpat_[0-9A-Za-z]+)"', page.text)
        SEEN.secrets.add(secret)
        # By its hint: of two that were made in one second either may come first.
        found = self.get(f"/-/tokens?search={secret[-4:]}")
        return secret, re.findall(r"/-/tokens/([a-z]+-[a-z]+)/edit", found.text)[0]

    @property
    def session(self) -> str:
        """The value of the session's cookie, by whichever of its two names."""
        return next((v for n, v in self.cookies.items() if n.endswith("gitpat-session")), "")

    def _connection(self) -> http.client.HTTPConnection:
        options: dict[str, Any] = {"timeout": 70}
        if self.source:
            options["source_address"] = (self.source, 0)
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, context=_UNVERIFIED, **options)
        return http.client.HTTPConnection("127.0.0.1", self.port, **options)

    def _take(self, page: Page) -> None:
        for cookie in page.set_cookies:
            name, _, value = cookie.split(";")[0].partition("=")
            if "max-age=0" in cookie.lower() or not value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value.strip('"')


def person(
    proxy: Proxy,
    name: str,
    password: str | None = PASSWORD,
    *,
    administrator: bool = False,
    service: bool = False,
) -> str:
    """Make an account, as an operator does."""
    SEEN.passwords.add(password or PASSWORD)
    proxy.services(
        lambda services: services.accounts.add(
            name,
            administrator=administrator,
            service=service,
            password=password,
            by=Author("test"),
        )
    )
    return name


def rows(proxy: Proxy, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask, or change, the proxy's database behind its back."""
    with closing(sqlite3.connect(proxy.folder / "gitpat.db", timeout=30)) as connection, connection:
        return connection.execute(query, values).fetchall()


def addresses_of_pages(method: str) -> list[str]:
    """Return the addresses of all pages that take the method, as the router has them."""
    loopback = {"routes": [{"path": "/", "repositories": "/"}], "database": "sqlite:////nowhere"}
    config = Config.model_validate(loopback, context=Path("/"))
    app = make_app(config, Access(config), Database(config.database), Shared(), utc_now)
    return [
        route.resource.canonical
        for route in app.router.routes()
        if route.resource is not None
        and route.method == method
        and route.resource.canonical.startswith("/-/")
        and not route.resource.canonical.startswith(_NO_PAGES)
    ]


_NO_PAGES = ("/-/api", "/-/static", "/-/health", "/-/ready", "/-/.well-known", "/-/oauth")


def path_of(location: str) -> str:
    """Return the path of a Location header, which must lead nowhere else."""
    parts = urlsplit(location)
    assert not parts.scheme, location
    assert not parts.netloc, location
    return parts.path
