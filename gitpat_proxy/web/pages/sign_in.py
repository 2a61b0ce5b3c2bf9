"""Signing in, confirming, signing out."""

from collections.abc import Sequence
from typing import TypeAlias

from aiohttp import hdrs, web

from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.services.passwords import BusyError
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn, WaitError, WrongPasswordError
from gitpat_proxy.web.pages.forms import own_page
from gitpat_proxy.web.pages.frame import For, Page, PageRoute
from gitpat_proxy.web.pages.words import sentence_of

_NotTaken: TypeAlias = WrongPasswordError | WaitError | BusyError


class SignInPages:
    """The way in and out."""

    def __init__(self, sign_in: SignIn, sessions: Sessions) -> None:
        self._sign_in = sign_in
        self._sessions = sessions

    def routes(self) -> Sequence[PageRoute]:
        return [
            PageRoute("/-/", For.PEOPLE, self.home),
            PageRoute("/-/sign-in", For.ANYBODY, self.sign_in, posts=True),
            PageRoute("/-/confirm", For.PEOPLE, self.confirm, posts=True),
            PageRoute("/-/sign-out", For.PEOPLE, self.sign_out, gets=False, posts=True),
        ]

    async def home(self, page: Page) -> web.StreamResponse:
        return page.redirect("/-/tokens")

    async def sign_in(self, page: Page) -> web.StreamResponse:
        if page.visitor.account is not None and not page.is_post:
            return page.redirect(own_page(page.query("next")))
        if not page.is_post:
            return self._sign_in_form(page, page.query("next"))
        _check_passwords_are_on(page)
        name, password = page.form.text("name").strip(), page.form.text("password")
        if not name or not password:
            missing = WrongPasswordError("Give the account's name and its password.")
            return self._sign_in_form(page, page.form.text("next"), missing)
        try:
            signed_in = await self._sign_in.by_password(name, password, page.visitor.visit)
        except (WrongPasswordError, WaitError, BusyError) as error:
            page.code = _code(error)
            return self._sign_in_form(page, page.form.text("next"), error)
        page.visitor.take(signed_in)
        return page.redirect(own_page(page.form.text("next")))

    async def confirm(self, page: Page) -> web.StreamResponse:
        if not page.is_post:
            return self._confirm_form(page, page.query("next"))
        _check_passwords_are_on(page)
        try:
            await self._sign_in.confirm(page.session, page.form.text("password"), page.visitor.visit)
        except (WrongPasswordError, WaitError, BusyError) as error:
            page.code = _code(error)
            return self._confirm_form(page, page.form.text("next"), error)
        return page.redirect(own_page(page.form.text("next")))

    async def sign_out(self, page: Page) -> web.StreamResponse:
        author = page.visitor.author
        await self._sessions.end(page.session.id, page.account.name, by=author, event="signed_out")
        page.visitor.forget()
        return page.redirect("/-/sign-in", "signed_out")

    def _sign_in_form(self, page: Page, after: str, error: _NotTaken | None = None) -> web.Response:
        response = page.render(
            "sign_in.html",
            _status(error),
            section="",
            next=own_page(after),
            name=page.form.text("name"),
            error=sentence_of(error.sentence) if error else None,
            passwords=page.frame.config.sign_in.passwords,
        )
        return _with_wait(response, error)

    def _confirm_form(self, page: Page, after: str, error: _NotTaken | None = None) -> web.Response:
        response = page.render(
            "confirm.html",
            _status(error),
            section="",
            next=own_page(after),
            error=_of_password(error),
        )
        return _with_wait(response, error)


def _check_passwords_are_on(page: Page) -> None:
    """Where nobody signs in with a password, none is looked at: it would be a place to try them."""
    if not page.frame.config.sign_in.passwords:
        raise ServiceError("you sign in without a password here")


def _code(error: _NotTaken) -> str | None:
    if isinstance(error, BusyError):
        return None
    return "throttled" if isinstance(error, WaitError) else "sign_in_failed"


def _status(error: _NotTaken | None) -> int:
    if isinstance(error, WaitError):
        return 429
    if isinstance(error, BusyError):
        return 503
    return 403 if error else 200


def _with_wait(response: web.Response, error: _NotTaken | None) -> web.Response:
    if isinstance(error, WaitError):
        response.headers[hdrs.RETRY_AFTER] = str(error.seconds)
    return response


def _of_password(error: _NotTaken | None) -> str | None:
    """Where the name is known, only the password can be wrong."""
    if isinstance(error, WrongPasswordError):
        return "The password is not right."
    return sentence_of(error.sentence) if error else None
