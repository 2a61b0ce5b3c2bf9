"""What administrators do: accounts, and everybody's tokens, which they can revoke and never see."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aiohttp import web

from gitpat_proxy.access.model import Account, Author
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.errors import FactsError, ServiceError
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.web.pages.account import PASSWORD_HINT, two_equal
from gitpat_proxy.web.pages.frame import For, Handler, Page, PageRoute
from gitpat_proxy.web.pages.paging import PER_PAGE, address
from gitpat_proxy.web.pages.question import Question, ask
from gitpat_proxy.web.pages.rows import account_row, account_url
from gitpat_proxy.web.pages.tokens import revoke_page, token_list
from gitpat_proxy.web.pages.words import sentences_of

_ACCOUNTS = "/-/administration/accounts"
_TOKENS = "/-/administration/tokens"


class AdministrationPages:
    """The pages under Administration."""

    def __init__(self, accounts: Accounts, tokens: Tokens) -> None:
        self._accounts = accounts
        self._tokens = tokens

    def routes(self) -> Sequence[PageRoute]:
        one = _ACCOUNTS + "/{name}"
        return [
            self._route(_ACCOUNTS, self.accounts),
            self._route("/-/administration/add-account", self.add, posts=True),
            self._route(one, self.account),
            self._route(f"{one}/disable", self.disable, posts=True),
            self._route(f"{one}/role", self.set_role, gets=False, posts=True),
            self._route(f"{one}/enable", self.enable, gets=False, posts=True),
            self._route(f"{one}/password", self.set_password, gets=False, posts=True),
            self._route(_TOKENS, self.tokens),
            self._route(_TOKENS + "/{id}/revoke", self.revoke, posts=True),
        ]

    async def accounts(self, page: Page) -> web.StreamResponse:
        search, after = page.query("search"), page.query("after")
        found = await self._accounts.page(search, after, PER_PAGE + 1)
        shown = found[:PER_PAGE]
        older = {"search": search, "after": shown[-1][0].name} if len(found) > PER_PAGE else None
        return page.render(
            "administration_accounts.html",
            section="administration",
            accounts=[account_row(account, tokens) for account, tokens in shown],
            search=search,
            newer_url=address(_ACCOUNTS, {"search": search}) if after else None,
            older_url=address(_ACCOUNTS, older) if older else None,
            action=_ACCOUNTS,
        )

    async def add(self, page: Page) -> web.StreamResponse:
        form = page.form
        values = {
            "name": form.text("name").strip() or page.query("name"),
            "administrator": bool(form.text("administrator") or page.query("administrator")),
            "service": bool(form.text("service") or page.query("service")),
        }
        errors: Mapping[str, str] = {}
        if page.is_post:
            try:
                account = await self._accounts.add(
                    str(values["name"]),
                    administrator=bool(values["administrator"]),
                    service=bool(values["service"]),
                    password=form.text("password") or None,
                    by=_administrator(page),
                )
                return page.redirect(account_url(account.name), "added")
            except FactsError as error:
                errors = sentences_of(error.problems)
        return page.render(
            "administration_account_add.html",
            422 if errors else 200,
            section="administration",
            values=values,
            errors=errors,
            passwords=page.frame.config.sign_in.passwords,
            password_hint=PASSWORD_HINT,
        )

    async def account(self, page: Page) -> web.StreamResponse:
        return self._account(page, await self._accounts.get(page.part("name")), {})

    async def disable(self, page: Page) -> web.StreamResponse:
        account = await self._accounts.get(page.part("name"))
        _check_not_oneself(page, account.name)
        back = account_url(account.name)
        if page.is_post:
            await self._accounts.disable(account.name, by=_administrator(page))
            return page.redirect(back, "disabled")
        return ask(
            page,
            Question(
                section="administration",
                title=f"Disable {account.name}?",
                lead="You can enable the account again.",
                points=[
                    "None of its tokens opens anything, from the next request on.",
                    "Nobody can sign in to it, and its sessions open nothing.",
                ],
                action=f"{back}/disable",
                back_url=back,
                button="Disable",
            ),
        )

    async def set_role(self, page: Page) -> web.StreamResponse:
        name, administrator = page.part("name"), bool(page.form.text("administrator"))
        _check_not_oneself(page, name)
        await self._accounts.set_administrator(
            name, administrator=administrator, by=_administrator(page)
        )
        return page.redirect(account_url(name), "saved_account")

    async def enable(self, page: Page) -> web.StreamResponse:
        account = await self._accounts.enable(page.part("name"), by=_administrator(page))
        return page.redirect(account_url(account.name), "enabled")

    async def set_password(self, page: Page) -> web.StreamResponse:
        account = await self._accounts.get(page.part("name"))
        try:
            new = two_equal(page.form)
            await self._accounts.set_password(account.name, new, by=_administrator(page))
        except FactsError as error:
            return self._account(page, account, sentences_of(error.problems))
        return page.redirect(account_url(account.name), "password_set")

    async def tokens(self, page: Page) -> web.StreamResponse:
        return await token_list(page, self._tokens, None, _TOKENS)

    async def revoke(self, page: Page) -> web.StreamResponse:
        token = await self._tokens.get(page.part("id"))
        return await revoke_page(page, self._tokens, token, _TOKENS, by=_administrator(page))

    def _account(self, page: Page, account: Account, errors: Mapping[str, str]) -> web.Response:
        base = account_url(account.name)
        is_disabled = account.disabled_at is not None
        return page.render(
            "administration_account.html",
            422 if errors else 200,
            section="administration",
            shown=account_row(account),
            is_own=account.name == page.account.name,
            passwords=page.frame.config.sign_in.passwords,
            disable_url=None if is_disabled else f"{base}/disable",
            enable_url=f"{base}/enable" if is_disabled else None,
            errors=errors,
            password_hint=PASSWORD_HINT,
        )

    def _route(
        self, path: str, handler: Handler, *, gets: bool = True, posts: bool = False
    ) -> PageRoute:
        return PageRoute(path, For.ADMINISTRATORS, handler, gets, posts)


def _check_not_oneself(page: Page, name: str) -> None:
    """Somebody must be left who can undo it."""
    if name == page.account.name:
        raise ServiceError("this is your own account; another administrator can do that")


def _administrator(page: Page) -> Author:
    """Whom no account confines."""
    return replace(page.visitor.author, confined_to=None)
