"""What may a token do, and why was it refused: the steps of the decision, in plain words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from gitpat_proxy.access.explanation import Explanation, verdict
from gitpat_proxy.access.policy import Check
from gitpat_proxy.services.errors import FactsError, NotFoundError
from gitpat_proxy.services.explanations import Explanations, OperationAsked
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.web.pages.frame import For, Page, PageRoute
from gitpat_proxy.web.pages.rows import activity_row, token_link
from gitpat_proxy.web.pages.words import check_title, sentence_of, sentences_of, service_title

_LONGEST_ROW_ID = 18
_FIELDS = ("repository", "service", "ref", "address", "at")


@dataclass(frozen=True)
class CheckRow:
    """A step of the decision. `sentence` is why it refuses, None if it does not."""

    title: str
    rule: str
    sentence: str | None


class ExplanationPages:
    """The tester of a token, and the page that explains a record of the activity.

    Told is what the policy says, and never whether a repository is there: it may be one that the
    person who asks does not reach.
    """

    def __init__(self, explanations: Explanations, tokens: Tokens) -> None:
        self._explanations = explanations
        self._tokens = tokens

    def routes(self) -> Sequence[PageRoute]:
        administration = "/-/administration"
        return [
            PageRoute("/-/tokens/{id}/explain", For.PEOPLE, self.of_token),
            PageRoute("/-/activity/{record}", For.PEOPLE, self.of_record),
            PageRoute(administration + "/tokens/{id}/explain", For.ADMINISTRATORS, self.of_any_token),
            PageRoute(administration + "/activity/{record}", For.ADMINISTRATORS, self.of_any_record),
        ]

    async def of_token(self, page: Page) -> web.StreamResponse:
        return await self._token(page, page.account.name)

    async def of_any_token(self, page: Page) -> web.StreamResponse:
        return await self._token(page, None)

    async def of_record(self, page: Page) -> web.StreamResponse:
        return await self._record(page, page.account.name)

    async def of_any_record(self, page: Page) -> web.StreamResponse:
        return await self._record(page, None)

    async def _token(self, page: Page, account: str | None) -> web.StreamResponse:
        token = await self._tokens.get(page.part("id"), account)
        values = {name: page.query(name).strip() for name in _FIELDS}
        errors: Mapping[str, str] = {}
        shown: Mapping[str, object] | None = None
        if "repository" in page.request.query:
            try:
                shown = _shown(await self._explanations.of(token.id, OperationAsked(**values), account))
            except FactsError as error:
                errors = sentences_of(error.problems)
        return page.render(
            "token_explain.html",
            422 if errors else 200,
            section="administration" if account is None else "tokens",
            token=token_link(token.id, token.name, own=account is not None),
            action=page.request.path,
            values={**values, "service": values["service"] or "receive-pack"},
            errors=errors,
            explanation=shown,
        )

    async def _record(self, page: Page, account: str | None) -> web.StreamResponse:
        text = page.part("record")
        if not text.isdecimal() or not text.isascii() or len(text) > _LONGEST_ROW_ID:
            raise NotFoundError("there is no such record")
        found = await self._explanations.of_record(int(text), account)
        names = await self._tokens.names([found.event.token] if found.event.token else [])
        row = activity_row((found.row_id, found.event), names, own=account is not None)
        return page.render(
            "record_explain.html",
            section="administration" if account is None else "activity",
            row=replace(row, explain_url=None),
            show_account=account is None,
            explanation=found.now and _shown(found.now),
        )


def _shown(explanation: Explanation) -> Mapping[str, object]:
    return {
        "permitted": explanation.refusal is None,
        "verdict": verdict(explanation),
        "repository": explanation.attempt.operation.repository,
        "service": service_title(explanation.attempt.operation.service),
        "checks": list(map(_row, explanation.checks)),
        "refs": [_row(check) for each in explanation.refs for check in each.checks],
        "notes": [sentence_of(note) for note in explanation.notes],
    }


def _row(check: Check) -> CheckRow:
    sentence = check.refusal.sentence if check.refusal else None
    return CheckRow(check_title(check.what), check.rule, sentence)
