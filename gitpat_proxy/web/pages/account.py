"""A person's own account: the password, and the browsers that are signed in."""

from collections.abc import Mapping, Sequence

from aiohttp import web

from gitpat_proxy.access.password import SHORTEST
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.errors import FactsError, NotFoundError, ServiceError
from gitpat_proxy.services.passwords import BusyError
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn, WaitError, WrongPasswordError
from gitpat_proxy.web.pages.forms import Form
from gitpat_proxy.web.pages.frame import For, Page, PageRoute
from gitpat_proxy.web.pages.question import Question, ask
from gitpat_proxy.web.pages.rows import session_row
from gitpat_proxy.web.pages.words import sentence_of, sentences_of

PASSWORD_HINT = f"At least {SHORTEST} characters. Long is better than complicated."


class AccountPages:
    """The page under Security > Account."""

    def __init__(self, accounts: Accounts, sessions: Sessions, sign_in: SignIn) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._sign_in = sign_in

    def routes(self) -> Sequence[PageRoute]:
        return [
            PageRoute("/-/account", For.PEOPLE, self.show),
            PageRoute("/-/account/password", For.PEOPLE, self.change_password, gets=False, posts=True),
            PageRoute("/-/account/sessions/{id}/end", For.PEOPLE, self.end_session, posts=True),
        ]

    async def show(self, page: Page) -> web.StreamResponse:
        return await self._render(page, {})

    async def change_password(self, page: Page) -> web.StreamResponse:
        """Take a new password with the present one, which is more than a confirmation of late."""
        if not _has_use_for_password(page):
            raise ServiceError("you sign in without a password here")
        try:
            new = two_equal(page.form)
            await self._sign_in.confirm(page.session, page.form.text("current"), page.visitor.visit)
            await self._accounts.change_password(
                page.account.name, new, session=page.session.id, by=page.visitor.author
            )
        except FactsError as error:
            return await self._render(page, sentences_of(error.problems))
        except WrongPasswordError:
            return await self._render(page, {"current": "This is not your present password."})
        except (WaitError, BusyError) as error:
            return await self._render(page, {"form": sentence_of(error.sentence)})
        return page.redirect("/-/account", "password")

    async def end_session(self, page: Page) -> web.StreamResponse:
        session_id = page.part("id")
        if page.is_post:
            await self._sessions.end(session_id, page.account.name, by=page.visitor.author)
            return page.redirect("/-/account", "ended")
        # What is in the address goes into the form's own: it must be a session's id and nothing else.
        if session_id not in {session.id for session in await self._sessions.listed(page.account.name)}:
            raise NotFoundError("there is no such session; it may have ended already")
        is_own = session_id == page.session.id
        return ask(
            page,
            Question(
                section="account",
                title="End this session?",
                lead="The browser has to sign in again."
                + (" It is the one you use now." if is_own else ""),
                points=["Your tokens go on working; you revoke them under Tokens."],
                action=f"/-/account/sessions/{session_id}/end",
                back_url="/-/account",
                button="End session",
            ),
        )

    async def _render(self, page: Page, errors: Mapping[str, str]) -> web.Response:
        sessions = await self._sessions.listed(page.account.name)
        return page.render(
            "account.html",
            422 if errors else 200,
            section="account",
            changes_password=_has_use_for_password(page),
            password_hint=PASSWORD_HINT,
            errors=errors,
            sessions=[session_row(session, page.session) for session in sessions],
        )


def _has_use_for_password(page: Page) -> bool:
    return page.account.has_password and page.frame.config.sign_in.passwords


def two_equal(form: Form) -> str:
    """Return the new password; raises FactsError if it was not typed twice the same."""
    if form.text("new") != form.text("again"):
        raise FactsError({"again": "the two new passwords are not the same"})
    return form.text("new")
