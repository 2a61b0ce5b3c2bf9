"""The keyboard alone does everything, and one always sees where one is."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import PHONE, Person, beside, person
from tests.support.past import ADMINISTRATOR, PASSWORD, make_accounts
from tests.support.proxy import Proxy

# What of an element, or of the card that it lies in, can show that it has the focus.
LOOKS = """
window.looksOf = (element) => [element, element.closest(".choice"), element.labels?.[0]]
    .filter(Boolean)
    .map((part) => {
        const style = getComputedStyle(part);
        const hasOutline = parseFloat(style.outlineWidth) > 0 && style.outlineStyle != "none"
            && !style.outlineColor.endsWith(", 0)");
        const outline = hasOutline
            && `${style.outlineStyle} ${style.outlineWidth} ${style.outlineColor}`;
        return [outline, style.boxShadow, style.borderColor, style.backgroundColor].join("; ");
    }).join(" | ");
window.looks = new Map([...document.querySelectorAll("*")].map((e) => [e, looksOf(e)]));
"""
FOCUSED = """() => {
    const element = document.activeElement;
    if (element === document.body) return null;
    const box = element.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const above = document.elementFromPoint(x, y);
    const own = above && [element, ...(element.labels ?? []), element.closest(".choice")];
    return {
        place: [...document.querySelectorAll("*")].indexOf(element),
        name: element.getAttribute("aria-label") ?? (element.labels?.[0]?.innerText
            ?? element.innerText ?? "").trim().replace(/\\s+/g, " "),
        tag: element.localName,
        shown: box.width > 0 && box.height > 0 && x >= 0 && y >= 0 && x < innerWidth && y < innerHeight,
        covered: !own?.some((part) => part && (part.contains(above) || above.contains(part))),
        marked: window.looks?.get(element) !== window.looksOf?.(element),
    };
}"""
# All that Tab should come to: of radio buttons with one name only the chosen one.
STOPS = """
[...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
    .filter((e) => !e.disabled && e.type != "hidden" && e.checkVisibility()
        && !(e.type == "radio" && !e.checked && document.querySelector(`[name=${e.name}]:checked`)))
    .length
"""


@pytest.fixture(scope="module")
def state(shared_proxy: Proxy, browser: Browser) -> dict[str, Any]:
    beside(lambda: make_accounts(shared_proxy, ADMINISTRATOR, "bob"))
    with person(browser, shared_proxy) as alice:
        alice.sign_in(ADMINISTRATOR)
        return dict(alice.context.storage_state())


@pytest.fixture
def alice(state: dict[str, Any], browser: Browser, shared_proxy: Proxy) -> Iterator[Person]:
    with person(browser, shared_proxy, storage_state=state) as alice:
        yield alice


@pytest.fixture
def token(shared_proxy: Proxy, alice: Person) -> str:
    """The id of a token called Test."""
    return beside(lambda: shared_proxy.make_token("code:read", account=ADMINISTRATOR))[1].id


def remember_looks(page: Page) -> None:
    """Keep how everything looks without the focus."""
    page.evaluate(LOOKS)


def focused(page: Page) -> dict[str, Any] | None:
    """Return what has the focus; that it is there to be seen is checked."""
    where: dict[str, Any] | None = page.evaluate(FOCUSED)
    if where:
        assert where["shown"], f"{page.url}: the focus is out of sight at {where}"
        assert not where["covered"], f"{page.url}: something lies over {where}"
        assert where["marked"], f"{page.url}: nothing shows that the focus is at {where}"
    return where


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the focus is there; it is seen all the way, and never gone."""
    expect(target).to_be_visible()
    remember_looks(page)
    for _ in range(60):
        page.keyboard.press("Tab")
        where = focused(page)
        assert where, f"{page.url}: the focus is lost on the way to {target}"
        if target.evaluate("target => target === document.activeElement"):
            return
    raise AssertionError(f"{page.url}: Tab does not lead to {target}")


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def link(page: Page, name: str) -> Locator:
    return page.get_by_role("link", name=name, exact=True)


def test_signing_in_and_out(browser: Browser, shared_proxy: Proxy, state: dict[str, Any]) -> None:
    with person(browser, shared_proxy) as bob:
        page = bob.go("/-/activity")
        tab_to(page, page.get_by_label("Account"))
        page.keyboard.type("bob")
        page.keyboard.press("Tab")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_label("Account")).to_have_value("bob")
        tab_to(page, page.get_by_label("Password"))
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Activity", level=1)).to_be_visible()
        tab_to(page, button(page, "Sign out"))
        page.keyboard.press("Enter")
        expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_the_skip_link_leads_past_the_navigation(alice: Person, token: str) -> None:
    page = alice.go("/-/tokens")
    remember_looks(page)
    page.keyboard.press("Tab")
    where = focused(page)
    assert where
    assert where["name"] == "Skip to the content"
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    where = focused(page)
    assert where
    assert where["name"] == "Revoke all"


def test_a_token_from_its_creation_to_its_end(alice: Person) -> None:
    page = alice.go("/-/tokens")
    tab_to(page, link(page, "Add").first)
    page.keyboard.press("Enter")
    fill_in(page)
    tab_to(page, button(page, "Create Token"))
    page.keyboard.press("Enter")
    alice.secret()
    tab_to(page, button(page, "Copy the secret"))
    tab_to(page, link(page, "Done"))
    page.keyboard.press("Enter")
    edit(page)
    revoke(page)


def fill_in(page: Page) -> None:
    tab_to(page, page.get_by_label("Name", exact=True))
    page.keyboard.type("by keys")
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="90 days")).to_be_focused()
    focused(page)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="180 days")).to_be_checked()
    focused(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("radio", name="30 days")).to_be_checked()
    tab_to(page, page.get_by_role("checkbox", name="Code (read)"))
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox", name="Code (read)")).to_be_checked()


def edit(page: Page) -> None:
    """First with a mistake, which takes the focus."""
    tab_to(page, link(page, "Edit by keys"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Name", exact=True))
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_be_focused()
    page.keyboard.press("Tab")
    expect(alert.get_by_role("link").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("by other keys")
    tab_to(page, button(page, "Save"))
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", name="by other keys", level=1)).to_be_visible()


def revoke(page: Page) -> None:
    revoke_link = link(page, "Revoke")
    tab_to(page, revoke_link)
    for way_out in ("Escape", "Cancel"):
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Revoke by other keys?")
        expect(dialog).to_be_visible()
        assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
        if way_out == "Cancel":
            tab_to(page, dialog.get_by_role("link", name="Cancel"))
            page.keyboard.press("Enter")
        else:
            page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(revoke_link).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    stays_inside(page, dialog)
    tab_to(page, dialog.get_by_role("button", name="Revoke"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Revoked. The token opens nothing any more.")).to_be_visible()


def stays_inside(page: Page, dialog: Locator) -> None:
    """However often one presses Tab, nothing behind the dialog has the focus."""
    for _ in range(8):
        page.keyboard.press("Tab")
        assert dialog.evaluate(
            "dialog => dialog.contains(document.activeElement)"
            " || document.activeElement === document.body"  # the browser's own buttons
        )
    dialog.get_by_label("Reason").focus()


def test_the_menu_of_a_phone(alice: Person) -> None:
    page = alice.go("/-/tokens")
    page.set_viewport_size(PHONE)
    remember_looks(page)
    summary = page.locator("summary").filter(has_text="Menu")
    tab_to(page, summary)
    page.keyboard.press("Enter")
    tab_to(page, link(page, "Activity"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Activity", level=1)).to_be_visible()


PATHS = (
    "/-/tokens",
    "/-/tokens/add?expires=date",
    "/-/tokens/{id}",
    "/-/tokens/{id}/edit",
    "/-/tokens/{id}/revoke",
    "/-/activity?kind=sign_in",
    "/-/account",
    "/-/found",
    "/-/administration/accounts",
    "/-/administration/add-account",
    "/-/administration/accounts/bob",
    "/-/administration/tokens",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tab_comes_to_everything_and_out_again(alice: Person, token: str, scheme: str) -> None:
    for path in PATHS:
        page = alice.go(path.replace("{id}", token))
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        remember_looks(page)
        expected = page.evaluate(STOPS)
        stops: list[int] = []
        page.keyboard.press("Tab")
        while (where := focused(page)) and where["place"] not in stops[:-1]:
            if where["place"] not in stops:  # each part of a date is a stop of its own
                stops.append(where["place"])
            page.keyboard.press("Tab")
        assert stops == sorted(stops), f"{page.url}: another order than that of the page"
        assert len(stops) == expected, page.url
