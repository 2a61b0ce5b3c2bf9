"""Every page in every state is for everybody: axe-core finds nothing, nothing scrolls sideways.

Each is looked at in light and in dark, on a desktop and on a phone, and the browser complains of none.
"""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from gitpat_proxy.app import make_app
from gitpat_proxy.cli.context import Invocation
from gitpat_proxy.services.access import Access
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.shared import Shared
from gitpat_proxy.store.database import Database
from tests.support.browser import (
    DESKTOP,
    PHONE,
    Person,
    beside,
    findings,
    person,
    scrolls_sideways,
)
from tests.support.past import ADMINISTRATOR, Past, make_past
from tests.support.proxy import Proxy

NO_PAGES = re.compile(r"/-/(health|ready|static/.*|.*\.csv|api/.+)")
"""Addresses that answer with something else."""
COLOURS = ("color-contrast", "link-in-text-block")
"""The rules that judge otherwise in another scheme."""


@pytest.fixture(scope="module")
def past(shared_proxy: Proxy) -> Past:
    return beside(lambda: make_past(shared_proxy))


@pytest.fixture(scope="module")
def alice(past: Past, shared_proxy: Proxy, browser: Browser) -> Iterator[Person]:
    with person(browser, shared_proxy) as alice:
        alice.sign_in(ADMINISTRATOR)
        yield alice


@pytest.fixture(scope="module")
def stranger(shared_proxy: Proxy, browser: Browser) -> Iterator[Person]:
    with person(browser, shared_proxy) as stranger:
        yield stranger


@pytest.fixture
def newcomer(past: Past, shared_proxy: Proxy, browser: Browser) -> Iterator[Person]:
    """Carol has an account, and nothing in it."""
    with person(browser, shared_proxy) as carol:
        carol.sign_in("carol")
        yield carol


def routes(proxy: Proxy) -> list[str]:
    """Return what the application itself says it answers, so that no page can be forgotten."""
    config = Invocation(proxy.config_file).config
    router = make_app(config, Access(config), Database(config.database), Shared(), utc_now).router
    paths = [r.resource.canonical for r in router.routes() if r.method == "GET" and r.resource]
    return [path for path in paths if path.startswith("/-/") and not NO_PAGES.fullmatch(path)]


def filled(path: str, past: Past) -> str:
    """Return an address with ids that exist."""
    token = past.tokens["coding agent" if "/edit" in path else "laptop"]
    is_session = "/sessions/" in path
    path = path.replace("{record}", str(past.refused))
    path = path.replace("{id}", past.session if is_session else token).replace("{name}", "bob")
    assert "{" not in path, f"say here what {path} is to be tried with"
    return path


def examined(page: Page, *, thoroughly: bool = False) -> Iterator[str]:
    """Yield what is wrong with what the page shows, in both schemes and both widths.

    Thoroughly: in each scheme at each width.
    """
    looks: list[tuple[str, dict[str, int], tuple[str, ...]]] = [
        ("light", DESKTOP, ()),
        ("dark", PHONE, ()),
    ]
    if thoroughly:
        looks += [("dark", DESKTOP, COLOURS), ("light", PHONE, COLOURS)]
    for scheme, size, rules in looks:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        where = f"{page.url} {scheme} {size['width']}"
        yield from (f"{where}: {finding}" for finding in findings(page, *rules))
        if scrolls_sideways(page):
            yield f"{where}: scrolls sideways"
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")


def wrong_at(someone: Person, paths: list[str]) -> list[str]:
    """Return what is wrong there, and wherever one is sent on to."""
    problems, seen = [], set()
    for path in paths:
        page = someone.go(path)
        if page.url not in seen:
            seen.add(page.url)
            problems += examined(page)
    return problems


def test_the_application_names_its_pages(shared_proxy: Proxy) -> None:
    assert {"/-/sign-in", "/-/tokens/{id}/edit", "/-/administration/accounts/{name}"} <= set(
        routes(shared_proxy)
    )


def test_every_page_of_somebody_signed_in(alice: Person, past: Past, shared_proxy: Proxy) -> None:
    paths = [filled(path, past) for path in beside(lambda: routes(shared_proxy))]
    assert len(paths) > 20
    assert wrong_at(alice, paths) == []


def test_every_page_of_a_stranger(stranger: Person, past: Past) -> None:
    assert wrong_at(stranger, ["/-/tokens", "/-/sign-in?notice=signed_out", "/-/found"]) == []


def test_other_states_of_the_pages(alice: Person, past: Past) -> None:
    named = ("old laptop", "trial of the new CI", "from next month on", "coding agent", "job")
    tokens = [f"/-/tokens/{past.tokens[name]}" for name in named]
    accounts = [f"/-/administration/accounts/{name}" for name in ("mallory", "build-farm")]
    tester = f"/-/tokens/{past.tokens['laptop']}/explain?repository=team/app&service"
    states = [
        f"{tester}=receive-pack&ref=refs/heads/main",
        f"{tester}=receive-pack&address=192.0.2.7&at=2020-01-01",
        f"{tester}=upload-pack&at=2099-01-01",
        f"{tester}=upload-pack&ref=main&address=here&at=soon",
        "/-/activity/1",
        "/-/tokens?status=all&notice=saved",
        "/-/tokens?search=nothing",
        "/-/tokens/add?name=Work+Items&expires=date&scope=code:read",
        "/-/tokens/no-token",
        "/-/activity?repository=nothing",
        "/-/activity?kind=push&repository=team/app&since=2026-01-01",
        f"/-/administration/activity?token={past.tokens['old laptop']}",
        "/-/administration/tokens?account=bob",
        "/-/administration/accounts?search=nobody",
    ]
    assert wrong_at(alice, [*tokens, *accounts, *states]) == []


def test_pages_that_are_empty(newcomer: Person) -> None:
    paths = ["/-/tokens", "/-/tokens?status=all", "/-/activity?kind=push", "/-/administration/accounts"]
    assert wrong_at(newcomer, paths) == []


def test_more_than_a_page_of_tokens(alice: Person) -> None:
    page = alice.go("/-/administration/tokens")
    assert list(examined(page)) == []
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Newer").wait_for()
    assert list(examined(page)) == []


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("/-/tokens", "Revoke laptop"),
        ("/-/account", "End the session of Safari on iPhone at 10.20.7.203"),
    ],
)
def test_dialogs(alice: Person, path: str, link: str) -> None:
    page = alice.go(path)
    page.get_by_role("link", name=link, exact=True).click()
    page.get_by_role("dialog").wait_for()
    assert list(examined(page)) == []


@pytest.mark.parametrize("path", ["/-/tokens?status=all", "/-/activity", "/-/account"])
def test_each_scheme_at_each_width(alice: Person, path: str) -> None:
    page = alice.go(path)
    page.set_viewport_size(PHONE)
    page.get_by_text("Menu", exact=True).click()
    page.get_by_role("link", name="All activity").wait_for()
    assert list(examined(page, thoroughly=True)) == []


@pytest.mark.parametrize(
    ("path", "button", "fields"),
    [
        ("/-/tokens/add", "Create Token", {}),
        ("/-/tokens/add?expires=date", "Create Token", {}),
        ("/-/tokens/add?repositories=!x&refs=main&uses=0&addresses=x", "Create Token", {}),
        ("/-/account", "Change password", {"New password": "short"}),
        ("/-/administration/add-account", "Add account", {"Name": "no such name"}),
        ("/-/administration/accounts/bob", "Set password", {"New password": "not the same"}),
        ("/-/confirm", "Confirm", {"Password": "not this one"}),
        ("/-/found", "Revoke this token", {}),
    ],
)
def test_errors(alice: Person, path: str, button: str, fields: dict[str, str]) -> None:
    page = alice.go(path)
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name=button, exact=True).click()
    page.get_by_role("alert").wait_for()
    assert list(examined(page)) == []


def test_a_sign_in_that_fails(stranger: Person, past: Past) -> None:
    page = stranger.go("/-/sign-in")
    page.get_by_label("Account").fill("nobody")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    assert list(examined(page)) == []


def _create(alice: Person, scope: str) -> None:
    alice.go(f"/-/tokens/add?name=one&scope={scope}")
    alice.page.get_by_role("button", name="Create Token").click()


def _create_for_git(alice: Person, _: Past) -> None:
    _create(alice, "code:write")
    alice.page.get_by_text("Store it without cloning").click()


def _create_for_work_items(alice: Person, _: Past) -> None:
    _create(alice, "work_items:read")


def _regenerate(alice: Person, past: Past) -> None:
    alice.go(f"/-/tokens/{past.tokens['nightly build']}/regenerate")
    alice.page.get_by_role("button", name="Regenerate").click()


@pytest.mark.parametrize("show", [_create_for_git, _create_for_work_items, _regenerate])
def test_the_page_with_the_secret(
    alice: Person, past: Past, show: Callable[[Person, Past], None]
) -> None:
    show(alice, past)
    alice.secret()
    alice.page.get_by_role("button", name="Copy the secret").click()
    assert list(examined(alice.page)) == []


def test_a_found_token(stranger: Person, past: Past) -> None:
    page = stranger.go("/-/found")
    page.get_by_label("The token").fill("gpat_none_of_ours")
    page.get_by_role("button", name="Revoke this token").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert list(examined(page)) == []


def test_where_a_company_signs_people_in(browser: Browser, start_proxy: Callable[..., Proxy]) -> None:
    header = {"name": "X-Forwarded-User", "from": ["127.0.0.1/32"], "create_accounts": True}
    proxy = start_proxy(sign_in={"passwords": False, "header": header})
    with person(browser, proxy) as stranger:
        assert wrong_at(stranger, ["/-/sign-in"]) == []
    with person(browser, proxy, extra_http_headers={"X-Forwarded-User": "erin"}) as erin:
        assert wrong_at(erin, ["/-/tokens", "/-/account"]) == []


def test_the_examination_sees_what_is_wrong(browser: Browser, shared_proxy: Proxy) -> None:
    """All other tests of this file prove something only if this one can fail."""
    page = browser.new_page()
    page.set_content("<title>x</title><p style='color: #999; width: 500px'>pale</p><img src='x'>")
    problems = "\n".join(examined(page))
    page.close()
    for expected in ("color-contrast", "image-alt", "landmark-one-main", "360: scrolls sideways"):
        assert expected in problems

    with person(browser, shared_proxy) as stranger:
        script = "Object.assign(document.createElement('script'), {text: 'document.title = 1'})"
        stranger.go("/-/found").evaluate(f"document.body.append({script})")
        stranger.page.evaluate("setTimeout(() => { throw new Error('broken') })")
        stranger.page.wait_for_timeout(50)
        policy, broken = stranger.complaints
        assert "Content Security Policy" in policy
        assert "broken" in broken
        stranger.complaints.clear()
