"""Debian's Chromium, driven by Playwright, and what every page must keep to in it."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.support.past import PASSWORD
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN
from tests.support.tools import require

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

Result = TypeVar("Result")

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--renderer-process-limit=1",
)
_MANY_ALIKE = (
    ".feed .entry:nth-child(n+9)",
    "tbody tr:nth-child(n+16)",
    ".compact tbody tr:nth-child(n+4)",
)
"""Rows of which there are so many that to examine each would take minutes."""
_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser. An event loop of Playwright's runs in this thread until it ends."""
    require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(_ARGUMENTS)
        )
        yield browser
        browser.close()


def beside(action: Callable[[], Result]) -> Result:
    """Do in another thread what needs an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(action).result()


@dataclass
class Person:
    """Somebody with a browser of their own; what it complained about is in `complaints`."""

    context: BrowserContext
    url: str
    page: Page = field(init=False)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def sign_in(self, name: str, password: str = PASSWORD) -> Page:
        """Sign in by the page, as people do."""
        page = self.go("/-/sign-in")
        page.get_by_label("Account").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/-/tokens")
        return page

    def secret(self) -> str:
        """Return the secret that the page shows."""
        return secret_on(self.page)

    def _hear(self, message: ConsoleMessage) -> None:
        # That a page of ours came with a status above 399 is no fault of the page.
        is_own_status = message.location["url"] == self.page.url and "status of 4" in message.text
        if message.type in {"error", "warning"} and not is_own_status:
            self.complaints.append(f"{self.page.url}: {message.type}: {message.text}")


def secret_on(page: Page) -> str:
    """Return the secret that a page shows; it must not turn up anywhere else."""
    secret = page.get_by_label("Secret", exact=True).input_value()
    assert secret.startswith("gpat_")
    SEEN.secrets.add(secret)
    return secret


@contextmanager
def person(browser: Browser, proxy: Proxy, **options: Any) -> Iterator[Person]:
    """Give somebody a browser without history; it must not have complained about anything."""
    settings = {"viewport": DESKTOP, "reduced_motion": "reduce"} | options
    context = browser.new_context(**settings)
    someone = Person(context, proxy.url)
    yield someone
    context.close()
    assert not someone.complaints, someone.complaints


def findings(page: Page, *rules: str) -> list[str]:
    """Return what axe-core finds: by WCAG 2.2 AA and its best practices, or by these rules."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE_SCRIPT)
    kinds = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": _TAGS}
    options = {"runOnly": kinds, "resultTypes": ["violations"], "preload": False}
    found = page.evaluate(
        "([what, options]) => axe.run(what, options).then((results) => results.violations)",
        [{"include": ["html"], "exclude": [[selector] for selector in _MANY_ALIKE]}, options],
    )
    return [
        f"{finding['id']}: {node['html'][:200]} ({node['failureSummary'].splitlines()[-1].strip()})"
        for finding in found
        for node in finding["nodes"]
    ]


def scrolls_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))
