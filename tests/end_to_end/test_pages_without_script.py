"""All that the pages are for, in a browser that runs no scripts."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from gitpat_proxy.cli.context import Services
from tests.support.browser import Person, beside, person
from tests.support.git import Git
from tests.support.past import ADMINISTRATOR, PASSWORD, make_accounts
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

OTHER_PASSWORD = "eight iron ladles"


@pytest.fixture(scope="module", autouse=True)
def accounts(shared_proxy: Proxy) -> None:
    beside(lambda: make_accounts(shared_proxy, ADMINISTRATOR, "bob", "carol"))


@pytest.fixture
def bob(browser: Browser, shared_proxy: Proxy) -> Iterator[Person]:
    with person(browser, shared_proxy, java_script_enabled=False) as bob:
        bob.sign_in("bob")
        yield bob


@pytest.fixture
def alice(browser: Browser, shared_proxy: Proxy) -> Iterator[Person]:
    with person(browser, shared_proxy, java_script_enabled=False) as alice:
        alice.sign_in(ADMINISTRATOR)
        yield alice


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def follow(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()


def notice(page: Page, words: str) -> None:
    expect(page.get_by_role("status").first).to_contain_text(words)


def add_token(bob: Person, name: str) -> str:
    page = bob.go("/-/tokens/add")
    page.get_by_label("Name", exact=True).fill(name)
    page.locator("label").filter(has_text="Code (read)").click()
    press(page, "Create Token")
    return bob.secret()


async def use_once(services: Services, secret: str) -> None:
    found = await services.tokens.find(secret)
    assert found
    assert await services.tokens.take_use(found[0].id)


DERIVE = ["token", "derive", "--name", "job 4711", "--scope", "code:read"]


def opens(proxy: Proxy, secret: str) -> bool:
    """Tell whether git would get in."""
    return Git(proxy.home(), secret).try_("ls-remote", f"{proxy.url}/team/app").ok


def test_the_life_of_a_token(bob: Person, shared_proxy: Proxy) -> None:
    page = bob.page
    secret = add_token(bob, "laptop")
    assert opens(shared_proxy, secret)
    field = page.get_by_label("Secret", exact=True)
    expect(field).to_have_attribute("readonly", "")
    expect(field).to_be_visible()
    assert page.get_by_role("button", name=re.compile("Copy")).count() == 0
    field.click(click_count=3)  # selects it, to be copied by hand
    follow(page, "Done")

    follow(page, "Edit laptop")
    page.get_by_label("Name", exact=True).fill("new laptop")
    page.locator("label").filter(has_text="On a date").click()
    page.get_by_label("Last day").fill("2001-01-01")
    press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("This needs a change")
    page.locator("label").filter(has_text="30 days").click()
    press(page, "Save")
    notice(page, "Saved.")
    expect(page.get_by_role("heading", name="new laptop", level=1)).to_be_visible()

    follow(page, "Regenerate")
    expect(page.get_by_role("heading", name="Regenerate new laptop?", level=1)).to_be_visible()
    press(page, "Regenerate")
    new_secret = bob.secret()
    assert new_secret != secret
    assert opens(shared_proxy, new_secret)
    assert not opens(shared_proxy, secret)
    page.reload()
    notice(page, "was shown once")
    assert new_secret not in page.content()
    assert opens(shared_proxy, new_secret)

    follow(page, "Revoke")
    expect(page.get_by_role("heading", name="Revoke new laptop?", level=1)).to_be_visible()
    page.get_by_label("Reason").fill("sold")
    press(page, "Revoke")
    notice(page, "Revoked.")
    expect(page.get_by_role("row", name="new laptop")).to_contain_text("sold")
    assert not opens(shared_proxy, new_secret)


def test_an_old_form_undoes_nothing(bob: Person, shared_proxy: Proxy) -> None:
    _, token = beside(lambda: shared_proxy.make_token("code:read", account="bob"))
    page = bob.go(f"/-/tokens/{token.id}/edit")
    shared_proxy.ok("token", "edit", token.id, "--repository", "team/app", "--name", "narrow")
    page.get_by_label("Name", exact=True).fill("mine")
    press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("changed meanwhile")
    expect(page.get_by_label("Name", exact=True)).to_have_value("narrow")
    expect(page.get_by_label("Repositories")).to_have_value("team/app")
    page.get_by_label("Name", exact=True).fill("mine")
    press(page, "Save")
    notice(page, "Saved.")
    shown = json.loads(shared_proxy.ok("token", "show", token.id, "--json"))
    assert (shown["name"], shown["repositories"]) == ("mine", ["team/app"])


def test_limits_are_set_and_a_derived_token_is_shown(bob: Person, shared_proxy: Proxy) -> None:
    page = bob.go("/-/tokens/add")
    page.get_by_label("Name", exact=True).fill("limited")
    page.locator("label").filter(has_text="Code (read and write)").click()
    page.locator("label").filter(has_text="Tokens (derive)").click()
    expect(page.get_by_label("Repositories")).to_be_hidden()
    page.locator(".limits summary").click()
    page.get_by_label("Repositories").fill("team/**\n!team/secret\n")
    page.get_by_label("Branches and tags to push to").fill("main")
    page.get_by_label("Uses").fill("5")
    press(page, "Create Token")
    expect(page.get_by_role("alert")).to_contain_text("'main' is no full name of a ref.")
    page.get_by_label("Branches and tags to push to").fill("refs/heads/agent/**=create")
    press(page, "Create Token")
    secret = bob.secret()
    follow(bob.go("/-/tokens"), "limited")
    for words in ("!team/secret", "refs/heads/agent/**=create", "5 of 5", "Any address"):
        expect(page.get_by_text(words)).to_be_visible()

    beside(lambda: shared_proxy.services(lambda services: use_once(services, secret)))
    follow(page, "Edit")
    page.get_by_label("Name", exact=True).fill("limited still")
    page.get_by_label("Repositories").fill("")
    page.get_by_label("Addresses").fill("127.0.0.1 ::1")
    press(page, "Save")
    # What was not touched goes on to count.
    for words in ("4 of 5", "All", "127.0.0.1/32", "refs/heads/agent/**=create"):
        expect(page.get_by_text(words, exact=True)).to_be_visible()

    job = beside(lambda: shared_proxy.ok(*DERIVE, stdin=secret).strip())
    SEEN.secrets.add(job)
    page.reload()
    expect(page.get_by_role("heading", name="Derived tokens")).to_be_visible()
    follow(page, "job 4711")
    follow(page, "limited still")
    follow(page, "Revoke")
    press(page, "Revoke")
    notice(page, "Revoked.")
    follow(page, "job 4711")
    expect(page.get_by_text("Revoked", exact=True).first).to_be_visible()


def test_revoking_all_and_what_was_found(bob: Person, browser: Browser, shared_proxy: Proxy) -> None:
    found = add_token(bob, "in a log")
    others = [add_token(bob, "one"), add_token(bob, "two")]
    with person(browser, shared_proxy, java_script_enabled=False) as stranger:
        page = stranger.go("/-/found")
        page.get_by_label("The token").fill(found)
        page.get_by_label("Where you found it").fill("in a build log")
        press(page, "Revoke this token")
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert not opens(shared_proxy, found)
    page = bob.go("/-/tokens?status=revoked")
    expect(page.get_by_role("row", name="in a log")).to_contain_text("found: in a build log")

    assert all(opens(shared_proxy, secret) for secret in others)
    follow(page, "Revoke all")
    press(page, "Revoke all")
    notice(page, "All your tokens are revoked.")
    assert not any(opens(shared_proxy, secret) for secret in others)


def test_looking_for_something(bob: Person) -> None:
    add_token(bob, "needle")
    add_token(bob, "straw")
    page = bob.go("/-/tokens")
    page.get_by_label("Search by name or hint").fill("need")
    press(page, "Search")
    expect(page.get_by_role("row", name="needle")).to_be_visible()
    expect(page.get_by_role("row", name="straw")).to_have_count(0)

    page = bob.go("/-/activity")
    page.get_by_role("navigation", name="Kind").get_by_role("link", name="Sign-ins").click()
    expect(page.get_by_text("Signed in", exact=True).first).to_be_visible()
    expect(page.get_by_text("Token created")).to_have_count(0)
    page.get_by_label("Address").fill("192.0.2.99")
    press(page, "Filter")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    bob.go("/-/activity")
    with page.expect_download() as download:
        follow(page, "CSV")
    assert "Token created" in download.value.path().read_text()


def test_the_menu_of_a_phone_opens(bob: Person) -> None:
    page = bob.go("/-/tokens")
    page.set_viewport_size({"width": 360, "height": 740})
    page.get_by_text("Menu", exact=True).click()
    follow(page, "Activity")
    expect(page.get_by_role("heading", name="Activity", level=1)).to_be_visible()


def test_sessions_and_the_password(browser: Browser, shared_proxy: Proxy) -> None:
    off = {"java_script_enabled": False}
    with person(browser, shared_proxy, **off) as here, person(browser, shared_proxy, **off) as there:
        here.sign_in("carol")
        there.sign_in("carol")
        page = here.go("/-/account")
        page.get_by_role("link", name="End").click()
        press(page, "End session")
        notice(page, "The session has ended.")
        expect(there.go("/-/account")).to_have_title("Sign in · gitpat-proxy")

        there.sign_in("carol")
        page.get_by_label("Current password").fill(PASSWORD)
        page.get_by_label("New password", exact=True).fill(OTHER_PASSWORD)
        page.get_by_label("New password again").fill(OTHER_PASSWORD)
        press(page, "Change password")
        notice(page, "The password is changed")
        expect(there.go("/-/account")).to_have_title("Sign in · gitpat-proxy")
        press(page, "Sign out")
        notice(page, "You are signed out.")
        here.sign_in("carol", OTHER_PASSWORD)


def test_administration(alice: Person, browser: Browser, shared_proxy: Proxy) -> None:
    page = alice.page
    follow(page, "Accounts")
    follow(page, "Add")
    page.get_by_label("Name", exact=True).fill("erin")
    press(page, "Add account")
    notice(page, "The account is there.")
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    press(page, "Set password")
    notice(page, "The password is set")
    with person(browser, shared_proxy, java_script_enabled=False) as erin:
        erin.sign_in("erin")
        secret = add_token(erin, "hers")
        assert opens(shared_proxy, secret)

        follow(page, "Disable")
        press(page, "Disable")
        notice(page, "Disabled.")
        assert not opens(shared_proxy, secret)
        expect(erin.go("/-/tokens")).to_have_title("Sign in · gitpat-proxy")
    press(page, "Enable")
    notice(page, "Enabled.")
    assert opens(shared_proxy, secret)

    follow(page, "All tokens")
    follow(page, "Revoke hers")
    press(page, "Revoke")
    notice(page, "Revoked.")
    expect(page.get_by_role("row", name="hers")).to_contain_text("erin")
    assert not opens(shared_proxy, secret)


def test_with_scripts_the_copy_buttons_are_there(browser: Browser, shared_proxy: Proxy) -> None:
    """Or else the tests above that look for none show nothing."""
    with person(browser, shared_proxy) as bob:
        bob.sign_in("bob")
        add_token(bob, "with scripts")
        assert bob.page.get_by_role("button", name=re.compile("Copy")).count() > 1
