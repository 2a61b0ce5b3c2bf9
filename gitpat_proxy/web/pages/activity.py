"""What tokens did: of one, of an account, of all; on a page and as CSV."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from aiohttp import hdrs, web

from gitpat_proxy.access.model import AuditFilter, AuditRow, EventKind, Token
from gitpat_proxy.access.representation import time_text
from gitpat_proxy.git.operation import typed_repository
from gitpat_proxy.services.audit import page as audit_page
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database
from gitpat_proxy.web.cursor import cursor_text, read_row_cursor
from gitpat_proxy.web.pages.frame import For, Page, PageRoute
from gitpat_proxy.web.pages.paging import PER_PAGE, address, page_start
from gitpat_proxy.web.pages.rows import MOST_REFS, activity_row, changes_of, ref_rows, token_link
from gitpat_proxy.web.pages.words import event_sentence, event_title

_CSV_ROWS = 50
"""So many events at once: one push may have thousands of refs."""
_MOST_CSV_ROWS = 100_000


class ActivityPages:
    """The pages under Security > Activity, and their like for administrators."""

    def __init__(self, tokens: Tokens, database: Database) -> None:
        self._tokens = tokens
        self._database = database

    def routes(self) -> Sequence[PageRoute]:
        return [
            PageRoute("/-/activity", For.PEOPLE, self.of_account),
            PageRoute("/-/activity.csv", For.PEOPLE, self.of_account),
            PageRoute("/-/tokens/{id}/activity", For.PEOPLE, self.of_token),
            PageRoute("/-/tokens/{id}/activity.csv", For.PEOPLE, self.of_token),
            PageRoute("/-/administration/activity", For.ADMINISTRATORS, self.of_all),
            PageRoute("/-/administration/activity.csv", For.ADMINISTRATORS, self.of_all),
        ]

    async def of_account(self, page: Page) -> web.StreamResponse:
        wanted = replace(_wanted(page), account=page.account.name)
        return await self._answer(page, wanted, "Activity")

    async def of_token(self, page: Page) -> web.StreamResponse:
        token = await self._tokens.get(page.part("id"), page.account.name)
        wanted = replace(_wanted(page), token=token.id)
        return await self._answer(page, wanted, f"Activity of {token.name}", token=token)

    async def of_all(self, page: Page) -> web.StreamResponse:
        wanted = replace(_wanted(page), account=page.query("account") or None)
        if not page.query("token"):
            return await self._answer(page, wanted, "All activity", own=False)
        token = await self._tokens.get(page.query("token"))
        wanted = replace(wanted, token=token.id)
        return await self._answer(page, wanted, f"Activity of {token.name}", token=token, own=False)

    async def _answer(
        self,
        page: Page,
        wanted: AuditFilter,
        heading: str,
        *,
        token: Token | None = None,
        own: bool = True,
    ) -> web.StreamResponse:
        if page.request.path.endswith(".csv"):
            return await self._csv(page, wanted)
        before = page.query("before")
        rows, end = await audit_page(
            self._database, wanted, page_start(before, read_row_cursor), PER_PAGE, MOST_REFS
        )
        names = await self._tokens.names({event.token for _, event in rows if event.token})
        path, filters = page.request.path, _filters(page)
        return page.render(
            "activity.html",
            section="activity" if own else "administration",
            heading=heading,
            token=token and token_link(token.id, token.name, own=own),
            rows=[activity_row(row, names, own=own) for row in rows],
            kind=wanted.kind.value if wanted.kind else "all",
            repository=page.query("repository"),
            address=page.query("address"),
            request_id=page.query("request"),
            since=page.query("since"),
            of_account=page.query("account"),
            show_account=not own,
            action=path,
            newer_url=address(path, filters) if before else None,
            older_url=address(path, filters | {"before": cursor_text(*end)}) if end else None,
            csv_url=address(f"{path}.csv", filters),
        )

    async def _csv(self, page: Page, wanted: AuditFilter) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/csv; charset=utf-8",
                hdrs.CONTENT_DISPOSITION: 'attachment; filename="activity.csv"',
            }
        )
        page.dress(response)
        await response.prepare(page.request)
        try:
            await response.write(_csv_text([_COLUMNS]))
            async for rows in self._pages(wanted):
                names = await self._tokens.names({event.token for _, event in rows if event.token})
                await response.write(await asyncio.to_thread(_csv_lines, rows, names))
        except ConnectionError:
            return response
        except BaseException:
            # Nothing else may follow what has been sent, and a part must not look like the whole.
            if page.request.transport is not None:
                page.request.transport.abort()
            raise
        await response.write_eof()
        return response

    async def _pages(self, wanted: AuditFilter) -> AsyncIterator[list[AuditRow]]:
        place = None
        for _ in range(_MOST_CSV_ROWS // _CSV_ROWS):
            rows, place = await audit_page(self._database, wanted, place, _CSV_ROWS)
            yield rows
            if place is None:
                return


def _wanted(page: Page) -> AuditFilter:
    kind, since = page.query("kind"), page.query("since")
    return AuditFilter(
        since=_day(since),
        repository=typed_repository(page.query("repository")),
        kind=EventKind(kind) if kind in set(EventKind) else None,
        address=page.query("address").strip() or None,
        request=page.query("request").strip() or None,
    )


def _day(text: str) -> datetime | None:
    """Return when a day begins; what is no day is no filter."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _filters(page: Page) -> dict[str, str]:
    names = ("kind", "repository", "address", "request", "since", "account", "token")
    return {name: page.query(name) for name in names}


_COLUMNS = (
    "time",
    "what",
    "account",
    "token",
    "token name",
    "repository",
    "ref",
    "old",
    "new",
    "outcome",
    "address",
    "request",
    "code",
    "more",
)


def _csv_lines(rows: Sequence[AuditRow], names: dict[str, str]) -> bytes:
    return _csv_text([line for row in rows for line in _csv_rows(row, names)])


def _csv_rows(row: AuditRow, names: dict[str, str]) -> list[tuple[str, ...]]:
    """Return a line for each ref of a push, one for anything else."""
    _, event = row
    head = (
        time_text(event.at) or "",
        event_title(event),
        event.account or "",
        event.token or "",
        names.get(event.token or "", ""),
        event.repository or "",
    )
    more = [
        event_sentence(event) or "",
        *(f"{c.what}: {c.before} → {c.after}" for c in changes_of(event)),
    ]
    code = str(event.details.get("code") or "")
    tail = (event.address or "", event.request or "", code, ". ".join(filter(None, more)))
    refs = [(ref.ref, ref.old, ref.new, ref.outcome) for ref in ref_rows(event)] or [("", "", "", "")]
    return [tuple(map(spreadsheet_safe, (*head, *ref, *tail))) for ref in refs]


def spreadsheet_safe(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    begins_formula = text.lstrip()[:1] in {*"=+-@＝＋－＠"}  # noqa: RUF001 - Excel takes the wide ones
    return f"'{text}" if begins_formula or text[:1] in {"\t", "\r", "\n"} else text


def _csv_text(rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()
