"""A person's tokens: listed, made, edited, given a new secret, revoked."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aiohttp import web

from gitpat_proxy.access.lifetime import lifetime_of
from gitpat_proxy.access.model import AuditFilter, Author, Status, Token, TokenQuery
from gitpat_proxy.services.audit import page as audit_page
from gitpat_proxy.services.errors import ConflictError, FactsError
from gitpat_proxy.services.tokens import OnceRequest, Tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.web.cursor import cursor_text, read_cursor
from gitpat_proxy.web.pages.frame import For, Page, PageRoute
from gitpat_proxy.web.pages.paging import PER_PAGE, address, page_start
from gitpat_proxy.web.pages.question import Question, ask
from gitpat_proxy.web.pages.rows import (
    MOST_REFS,
    TokenRow,
    activity_row,
    lifetimes,
    scope_groups,
    token_row,
)
from gitpat_proxy.web.pages.token_values import (
    TokenValues,
    facts_of,
    sentences_by_field,
    values_in,
    values_of,
    values_offered,
)
from gitpat_proxy.web.pages.words import sentences_of

_DAYS = 30
_LATEST = 10
_MOST_DERIVED = 20
_CHANGED = "The token was changed meanwhile, and is shown as it is now: make your change again."


class TokenPages:
    """The pages under Security > Tokens."""

    def __init__(self, tokens: Tokens, database: Database) -> None:
        self._tokens = tokens
        self._database = database

    def routes(self) -> Sequence[PageRoute]:
        one = "/-/tokens/{id}"
        return [
            PageRoute("/-/tokens", For.PEOPLE, self.listed),
            PageRoute("/-/tokens/add", For.PEOPLE_CONFIRMED, self.add, posts=True),
            PageRoute("/-/tokens/revoke-all", For.PEOPLE, self.revoke_all, posts=True),
            PageRoute(one, For.PEOPLE, self.show),
            PageRoute(f"{one}/edit", For.PEOPLE_CONFIRMED, self.edit, posts=True),
            PageRoute(f"{one}/regenerate", For.PEOPLE_CONFIRMED, self.regenerate, posts=True),
            PageRoute(f"{one}/revoke", For.PEOPLE, self.revoke, posts=True),
        ]

    async def listed(self, page: Page) -> web.StreamResponse:
        return await token_list(page, self._tokens, page.account.name, "/-/tokens")

    async def show(self, page: Page) -> web.StreamResponse:
        token = await self._own(page)
        wanted = AuditFilter(token=token.id)
        events, _more = await audit_page(self._database, wanted, None, _LATEST, MOST_REFS)
        names = {token.id: token.name}
        derived = await self._tokens.page(
            TokenQuery(page.account.name, limit=_MOST_DERIVED + 1, parent=token.id)
        )
        return page.render(
            "token.html",
            section="tokens",
            token=await self._row(page, token),
            derived=[token_row(t, (), page.now, own=True) for t in derived[:_MOST_DERIVED]],
            has_more_derived=len(derived) > _MOST_DERIVED,
            activity=[activity_row(row, names, own=True) for row in events],
        )

    async def add(self, page: Page) -> web.StreamResponse:
        if not page.is_post:
            return self._form(page, values_offered(page.request.query), {})
        values = values_in(page.form)
        # One form makes one token, also where somebody went back and changed what stands in it.
        request = OnceRequest(f"page {page.form.text('form_key')}", "add")
        try:
            secret, token = await self._tokens.create_once(
                page.account.name, facts_of(values), request, by=page.visitor.author
            )
        except FactsError as error:
            return self._form(
                page, values, sentences_by_field(error), form_key=page.form.text("form_key")
            )
        if secret is None:
            return page.redirect(f"/-/tokens/{token.id}", "shown")
        return await self._secret(page, token, secret, regenerated=False)

    async def edit(self, page: Page) -> web.StreamResponse:
        token = await self._own(page)
        if not page.is_post:
            return await self._edit_form(page, token, values_of(token), {})
        values = values_in(page.form)
        try:
            # What the form changes is told by what the token was when it was opened.
            facts, seen = facts_of(values, values_of(token)), page.form.text("version")
            await self._tokens.edit(token.id, facts, by=page.visitor.author, version=seen)
        except FactsError as error:
            return await self._edit_form(page, token, values, sentences_by_field(error))
        except ConflictError:
            token = await self._own(page)
            return await self._edit_form(page, token, values_of(token), {"form": _CHANGED})
        return page.redirect(f"/-/tokens/{token.id}", "saved")

    async def regenerate(self, page: Page) -> web.StreamResponse:
        token = await self._own(page)
        if not page.is_post:
            return ask(
                page,
                Question(
                    section="tokens",
                    title=f"Regenerate {token.name}?",
                    lead="The token gets a new secret, which you see once. All else stays.",
                    points=[
                        "The present secret opens nothing any more, at once.",
                        "Whatever uses the token needs the new secret before it works again.",
                    ],
                    action=f"/-/tokens/{token.id}/regenerate?key={secrets.token_urlsafe(16)}",
                    back_url=f"/-/tokens/{token.id}",
                    button="Regenerate",
                ),
            )
        request = OnceRequest(f"page {page.query('key')}", f"regenerate {token.id}")
        secret, token = await self._tokens.rotate_once(
            token.id, page.account.name, request, by=page.visitor.author
        )
        if secret is None:
            return page.redirect(f"/-/tokens/{token.id}", "shown")
        return await self._secret(page, token, secret, regenerated=True)

    async def revoke(self, page: Page) -> web.StreamResponse:
        token = await self._own(page)
        return await revoke_page(page, self._tokens, token, "/-/tokens", by=page.visitor.author)

    async def revoke_all(self, page: Page) -> web.StreamResponse:
        errors: Mapping[str, str] = {}
        if page.is_post:
            try:
                reason = page.form.text("reason")
                await self._tokens.revoke_all(page.account.name, reason, by=page.visitor.author)
                return page.redirect("/-/tokens?status=revoked", "revoked_all")
            except FactsError as error:
                errors = sentences_of(error.problems)
        return ask(
            page,
            Question(
                section="tokens",
                title="Revoke all your tokens?",
                lead="Every token of yours ends, for good. You can make new ones afterwards.",
                points=[
                    "Each tool and machine that uses one of them can't clone, fetch or push any more.",
                    "Nothing brings a revoked token back.",
                ],
                action="/-/tokens/revoke-all",
                back_url="/-/tokens",
                button="Revoke all",
                reason=True,
                errors=errors,
            ),
        )

    async def _own(self, page: Page) -> Token:
        return await self._tokens.get(page.part("id"), page.account.name)

    async def _row(self, page: Page, token: Token) -> TokenRow:
        uses = await self._tokens.uses([token], _DAYS)
        return token_row(token, uses[token.id], page.now, own=True)

    async def _secret(
        self, page: Page, token: Token, secret: str, *, regenerated: bool
    ) -> web.StreamResponse:
        public_url = page.frame.config.public_url
        return page.render(
            "token_secret.html",
            section="tokens",
            token=await self._row(page, token),
            secret=secret,
            regenerated=regenerated,
            clone_url=f"{public_url.replace('://', '://anyone@', 1)}/REPOSITORY.git",
        )

    async def _edit_form(
        self, page: Page, token: Token, values: TokenValues, errors: Mapping[str, str]
    ) -> web.Response:
        return self._form(page, values, errors, token=await self._row(page, token))

    def _form(
        self,
        page: Page,
        values: TokenValues,
        errors: Mapping[str, str],
        *,
        token: TokenRow | None = None,
        form_key: str = "",
    ) -> web.Response:
        config, now = page.frame.config, page.now
        if not token and not values.expires:
            values = replace(values, expires=config.tokens.default_lifetime)
        most = lifetime_of(config.tokens.longest_lifetime)
        return page.render(
            "token_form.html",
            422 if errors else 200,
            section="tokens",
            token=token,
            values=values,
            errors=errors,
            lifetimes=lifetimes(config.tokens.default_lifetime, config.tokens.longest_lifetime, now),
            today=f"{now:%Y-%m-%d}",
            latest_date=None if most is None else f"{now + most:%Y-%m-%d}",
            scope_groups=scope_groups(page.account, config.scopes),
            form_key=form_key or secrets.token_urlsafe(16),
        )


async def token_list(page: Page, tokens: Tokens, account: str | None, action: str) -> web.Response:
    """Show the tokens of an account, or for administrators those of all."""
    status, search, before = page.query("status") or "active", page.query("search"), page.query("before")
    of_account = "" if account else page.query("account")
    wanted = TokenQuery(
        account or of_account or None,
        Status(status) if status in set(Status) else None,
        search,
        page_start(before, read_cursor),
        PER_PAGE + 1,
    )
    found = await tokens.page(wanted)
    shown = found[:PER_PAGE]
    uses = await tokens.uses(shown, _DAYS)
    filters = {"status": status, "search": search, "account": of_account}
    older = shown and len(found) > PER_PAGE and cursor_text(shown[-1].created_at, shown[-1].id)
    has_any = bool(found) or bool(await tokens.page(TokenQuery(account, limit=1)))
    return page.render(
        "tokens.html",
        section="administration" if account is None else "tokens",
        tokens=[token_row(t, uses[t.id], page.now, own=account is not None) for t in shown],
        status=status,
        search=search,
        of_account=of_account,
        newer_url=address(action, filters) if before else None,
        older_url=address(action, filters | {"before": older}) if older else None,
        all_accounts=account is None,
        action=action,
        has_any=has_any,
    )


async def revoke_page(
    page: Page, tokens: Tokens, token: Token, back: str, *, by: Author
) -> web.Response:
    """Ask whether a token shall be revoked, and do it; `back` is the list that it is in."""
    errors: Mapping[str, str] = {}
    if page.is_post:
        try:
            await tokens.revoke([token.id], page.form.text("reason"), by=by)
            return page.redirect(f"{back}?status=revoked", "revoked")
        except FactsError as error:
            errors = sentences_of(error.problems)
    last = token.last_used_at
    used = f"It was last used from {token.last_used_from}." if last else "It was never used."
    return ask(
        page,
        Question(
            section="tokens" if by.confined_to else "administration",
            title=f"Revoke {token.name}?",
            lead=f"The token “{token.name}” ({token.hint}) of {token.account} ends, for good.",
            points=[
                "Whatever uses it can't clone, fetch or push any more, from the next request on.",
                used,
                "Nothing brings a revoked token back; you can make a new one.",
            ],
            action=f"{back}/{token.id}/revoke",
            back_url=back,
            button="Revoke",
            reason=True,
            errors=errors,
        ),
    )
