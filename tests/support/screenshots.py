"""Photographs every page: `python -m tests.support.screenshots FOLDER [PUBLIC_URL]`.

Those of the README are `tokens-light`, `secret-dark` and `activity-light` of https://git.example.org.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Page

from tests.support.browser import DESKTOP, PHONE, Person, chromium, person
from tests.support.past import ADMINISTRATOR, Past, make_past
from tests.support.proxy import Proxy

Visit = Callable[[Person], object]


def visits(past: Past) -> dict[str, str | Visit]:
    """Return pages by name: each an address, or what leads to it."""
    tokens = past.tokens
    release, laptop = tokens["release pipeline"], tokens["laptop"]
    return {
        "tokens": "/-/tokens",
        "activity": "/-/activity",
        "tokens-all": "/-/tokens?status=all",
        "tokens-nothing": "/-/tokens?search=nothing",
        "tokens-dialog": revoke_dialog,
        "add": "/-/tokens/add?name=Work+Items&scope=work_items:read",
        "add-date": "/-/tokens/add?name=Work+Items&expires=date",
        "add-errors": add_nothing,
        "secret": lambda someone: add(someone, "another laptop", "Code (read and write)"),
        "secret-no-code": lambda someone: add(someone, "tickets", "Work items (read)"),
        "token": f"/-/tokens/{release}",
        "token-revoked": f"/-/tokens/{tokens['old laptop']}",
        "token-pending": f"/-/tokens/{tokens['from next month on']}",
        "token-expired": f"/-/tokens/{tokens['trial of the new CI']}",
        "token-work-items": f"/-/tokens/{tokens['Work Items']}",
        "edit": f"/-/tokens/{release}/edit",
        "revoke": f"/-/tokens/{release}/revoke",
        "regenerate": f"/-/tokens/{release}/regenerate",
        "revoke-all": "/-/tokens/revoke-all",
        "token-activity": f"/-/tokens/{laptop}/activity",
        "activity-refused": "/-/activity?kind=refused",
        "activity-nothing": "/-/activity?repository=nothing",
        "account": "/-/account",
        "found": "/-/found",
        "found-done": report,
        "confirm": "/-/confirm",
        "accounts": "/-/administration/accounts",
        "account-add": "/-/administration/add-account",
        "account-bob": "/-/administration/accounts/bob",
        "account-mallory": "/-/administration/accounts/mallory",
        "account-service": "/-/administration/accounts/build-farm",
        "account-disable": "/-/administration/accounts/bob/disable",
        "all-tokens": "/-/administration/tokens",
        "all-tokens-bob": "/-/administration/tokens?account=bob",
        "all-activity": "/-/administration/activity",
        "api": "/-/api/",
        "not-found": "/-/tokens/nothing",
    }


def revoke_dialog(someone: Person) -> None:
    someone.go("/-/tokens").get_by_role("link", name="Revoke laptop").click()
    someone.page.get_by_role("dialog").wait_for()


def add_nothing(someone: Person) -> None:
    someone.go("/-/tokens/add").get_by_role("button", name="Create Token").click()
    someone.page.get_by_role("alert").wait_for()


def add(someone: Person, name: str, scope: str) -> None:
    page = someone.go("/-/tokens/add")
    page.get_by_label("Name").fill(name)
    page.get_by_role("checkbox", name=scope).check(force=True)  # its card lies over it
    page.get_by_role("button", name="Create Token").click()
    someone.secret()


def report(someone: Person) -> None:
    page = someone.go("/-/found")
    page.get_by_label("The token").fill("gpat_no_token_of_ours")
    page.get_by_role("button", name="Revoke this token").click()
    page.get_by_role("heading", name="Thank you").wait_for()


def photograph(folder: Path, proxy: Proxy, past: Past) -> Iterator[Path]:
    """Write a picture of each page in light, in dark and as a phone shows it."""
    with chromium() as browser:
        with person(browser, proxy) as someone:
            someone.sign_in(ADMINISTRATOR)
            state = someone.context.storage_state()
        for scheme, viewport, kind in (
            ("light", DESKTOP, "light"),
            ("dark", DESKTOP, "dark"),
            ("light", PHONE, "phone"),
        ):
            options = {"color_scheme": scheme, "viewport": viewport}
            with person(browser, proxy, **options) as stranger:
                for name in ("sign-in", "found"):
                    stranger.go(f"/-/{name}")
                    yield _picture(stranger.page, folder / f"stranger-{name}-{kind}.png")
            with person(browser, proxy, storage_state=state, **options) as someone:
                for name, visit in visits(past).items():
                    someone.go(visit) if isinstance(visit, str) else visit(someone)
                    yield _picture(someone.page, folder / f"{name}-{kind}.png")


def _picture(page: Page, file: Path) -> Path:
    page.screenshot(path=file)
    page.screenshot(path=file.with_suffix(".full.png"), full_page=True)
    return file


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        public_url = sys.argv[2] if len(sys.argv) > 2 else "http://localhost"
        proxy = Proxy(Path(place) / "proxy", public_url=public_url)
        proxy.start()
        try:
            for _ in photograph(folder, proxy, make_past(proxy)):
                pass
        finally:
            proxy.stop()


if __name__ == "__main__":
    main()
