"""The whole story of a token as a person lives it, with a browser, and the real git beside it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from tests.support.browser import Person, beside, person, secret_on
from tests.support.git import Git, commit
from tests.support.past import ADMINISTRATOR, PASSWORD, make_accounts
from tests.support.proxy import Proxy

CLIPBOARD = ("clipboard-read", "clipboard-write")


@pytest.fixture
def alice(browser: Browser, proxy: Proxy) -> Iterator[Person]:
    """Alice, whose account an operator has just added, in front of a browser with a clipboard."""
    proxy.ok("account", "add", "alice", "--password-stdin", stdin=f"{PASSWORD}\n")
    with person(browser, proxy, permissions=list(CLIPBOARD)) as alice:
        yield alice


@pytest.fixture(scope="module")
def accounts(shared_proxy: Proxy) -> None:
    beside(lambda: make_accounts(shared_proxy, ADMINISTRATOR, "bob", "carol"))


@pytest.fixture
def bob(browser: Browser, shared_proxy: Proxy, accounts: None) -> Iterator[Person]:
    with person(browser, shared_proxy, permissions=list(CLIPBOARD)) as bob:
        bob.sign_in("bob")
        yield bob


def test_a_token_from_its_creation_to_its_end(alice: Person, proxy: Proxy) -> None:
    git = Git(proxy.home(), username="q7ßx random")
    address = f"{proxy.url}/team/app"

    sign_in(alice)
    git.use(secret := make_token(alice))
    copy(alice.page, secret)
    token_page = reload(alice.page, secret)

    refused = git.try_("clone", address, "work")
    assert not refused.ok
    assert 'The token "Work Items"' in refused.text
    assert "has the scope work_items:read, but git-upload-pack needs code:read" in refused.text
    assert token_page in refused.text

    let_it_write(alice.page)
    git("clone", address, "work")
    head = commit(git, git.home / "work")
    git("push", "origin", "HEAD:refs/heads/topic", cwd=git.home / "work")
    assert git("ls-remote", address, "topic").split()[0] == head
    proxy.audit_of(7)  # until all is written
    see_what_it_did(alice.page, head)

    look_at_the_dialog(alice.page)
    git("ls-remote", address)
    revoke(alice.page, "left on a train")
    refused = git.try_("clone", address, "other")
    assert not refused.ok
    assert "was revoked on" in refused.text
    assert "left on a train" in refused.text


def sign_in(alice: Person) -> None:
    page = alice.page
    page.goto(alice.url)
    expect(page).to_have_title("Sign in · gitpat-proxy")
    page.get_by_label("Account", exact=True).fill("alice")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def make_token(alice: Person) -> str:
    page = alice.page
    navigate(page, "Tokens")
    expect(page.get_by_role("heading", name="You have no tokens yet")).to_be_visible()
    page.get_by_role("link", name="Add", exact=True).click()
    page.get_by_label("Name", exact=True).fill("Work Items")
    tick(page, "radio", "90 days")
    tick(page, "checkbox", "Work items (read)")
    page.get_by_role("button", name="Create Token", exact=True).click()
    return alice.secret()


def copy(page: Page, secret: str) -> None:
    page.get_by_role("button", name="Copy the secret", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == secret


def reload(page: Page, secret: str) -> str:
    """Reload the page with the secret: it is gone. Return the address of the token's page."""
    page.reload()
    assert secret not in page.content()
    expect(page).to_have_url(re.compile(r"/-/tokens/[a-z]+-[a-z]+\?notice=shown$"))
    expect(page.get_by_role("heading", name="Work Items", level=1)).to_be_visible()
    return page.url.partition("?")[0]


def let_it_write(page: Page) -> None:
    page.get_by_role("link", name="Edit", exact=True).click()
    expect(page.get_by_text("The secret stays the same")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Work items (read)")).to_be_checked()
    tick(page, "checkbox", "Code (read and write)")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("Saved.")


def see_what_it_did(page: Page, head: str) -> None:
    navigate(page, "Activity")
    push = page.get_by_role("listitem").filter(has_text="Pushed 1 ref")
    for text in ("team/app", "refs/heads/topic", head[:10], "127.0.0.1", "Work Items"):
        expect(push).to_contain_text(text)
    expect(page.get_by_text("Cloned", exact=True)).to_be_visible()
    expect(page.get_by_text("Refused: a scope is missing")).to_be_visible()


def look_at_the_dialog(page: Page) -> None:
    """Open it and think again."""
    navigate(page, "Tokens")
    expect(page.get_by_role("row", name="Work Items")).to_contain_text("code:write")
    link = page.get_by_role("link", name="Revoke Work Items", exact=True)
    link.click()
    dialog = page.get_by_role("dialog", name="Revoke Work Items?", exact=True)
    expect(dialog).to_contain_text("Whatever uses it can't clone, fetch or push any more")
    assert dialog.evaluate("dialog => dialog.matches(':modal')")
    assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(link).to_be_focused()


def revoke(page: Page, reason: str) -> None:
    page.get_by_role("link", name="Revoke Work Items", exact=True).click()
    dialog = page.get_by_role("dialog", name="Revoke Work Items?", exact=True)
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    expect(page).to_have_url(re.compile(r"\?status=revoked"))
    row = page.get_by_role("row", name="Work Items")
    expect(row).to_contain_text("Revoked")
    expect(row).to_contain_text(reason)


def test_no_way_back_leads_to_a_secret(bob: Person) -> None:
    """Not by reloading, not by going back and forward, not by sending the same form again."""
    bob.go("/-/tokens/add?name=laptop&scope=code:read")
    bob.page.get_by_role("button", name="Create Token", exact=True).click()
    secret, page = bob.secret(), bob.page
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("heading", name="Tokens", level=1)).to_be_visible()

    go(page, "back")
    assert secret not in page.content()
    page.reload()  # the browser asks whether to send the form again, and does
    expect(page.get_by_text("The secret of this token was shown once.")).to_be_visible()
    assert secret not in page.content()
    for _ in range(2):
        go(page, "back")
        assert secret not in page.content()
    go(page, "forward")
    assert secret not in page.content()

    # The page from which it was sent is still open in another tab: its button is pressed once more.
    bob.go("/-/tokens/add?name=desktop&scope=code:read")
    with bob.context.expect_page() as opened:
        page.get_by_role("button", name="Create Token", exact=True).click(modifiers=["Control"])
    other = opened.value.get_by_label("Secret", exact=True)
    expect(other).to_be_visible()
    again = secret_on(opened.value)
    page.get_by_role("button", name="Create Token", exact=True).click()
    expect(page.get_by_text("The secret of this token was shown once.")).to_be_visible()
    assert again not in page.content()

    bob.go("/-/tokens?status=all")
    names = [row.inner_text() for row in page.get_by_role("rowheader").get_by_role("link").all()]
    assert sorted(names) == ["desktop", "laptop"]  # made within one second, they have no order


def test_every_copy_button_copies_what_stands_beside_it(bob: Person, shared_proxy: Proxy) -> None:
    bob.go("/-/tokens/add?name=laptop&scope=code:read")
    bob.page.get_by_role("button", name="Create Token", exact=True).click()
    secret, page = bob.secret(), bob.page
    page.get_by_text("Store it without cloning").click()
    buttons = page.locator("button[data-copy]").all()
    assert len(buttons) >= 3
    copied = []
    for button in buttons:
        button.click()
        expect(button).to_contain_text("Copied")
        copied.append(page.evaluate("navigator.clipboard.readText()"))
    assert copied[0] == secret
    assert f"git clone http://anyone@127.0.0.1:{shared_proxy.port}/REPOSITORY.git" in copied
    assert all(secret not in text for text in copied[1:])
    assert all(len(text) > 20 for text in copied)


def test_where_the_clipboard_is_closed_the_secret_is_selected(
    browser: Browser, shared_proxy: Proxy, accounts: None
) -> None:
    """As on plain HTTP: there are no clipboards for scripts then."""
    with person(browser, shared_proxy) as carol:
        carol.page.add_init_script(
            "delete Navigator.prototype.clipboard; document.execCommand = () => false;"
        )
        carol.sign_in("carol")
        carol.go("/-/tokens/add?name=laptop&scope=code:read")
        carol.page.get_by_role("button", name="Create Token", exact=True).click()
        secret = carol.secret()
        button = carol.page.get_by_role("button", name="Copy the secret", exact=True)
        button.click()
        expect(carol.page.get_by_role("status")).to_contain_text("press Control C")
        assert carol.page.evaluate(
            "secret => { const field = document.getElementById('secret');"
            " return field.value.slice(field.selectionStart, field.selectionEnd) == secret; }",
            secret,
        )


def navigate(page: Page, name: str) -> None:
    page.get_by_role("list", name="Security").get_by_role("link", name=name, exact=True).click()


def tick(page: Page, role: str, name: str) -> None:
    """Choose a card by its words, as a mouse does: they lie over its box."""
    page.locator("label").filter(has_text=name).click()
    expect(page.get_by_role("radio" if role == "radio" else "checkbox", name=name)).to_be_checked()


def go(page: Page, where: str) -> None:
    """Go back or forward; that the browser shows its own page for a form that is over is no failure."""
    try:
        page.go_back() if where == "back" else page.go_forward()
    except Error as error:
        if "ERR_CACHE_MISS" not in str(error):
            raise
        page.wait_for_url("chrome-error://*/")
