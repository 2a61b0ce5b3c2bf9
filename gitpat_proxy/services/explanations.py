"""Why an operation is, was or would be permitted or refused, for every face that can be asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from gitpat_proxy.access.address import Address, client_address
from gitpat_proxy.access.explanation import Change, Explanation, explain
from gitpat_proxy.access.lifetime import time_of
from gitpat_proxy.access.model import Account, AuditEvent, AuditFilter, AuditRow, Clock, Token, lineage
from gitpat_proxy.access.policy import Attempt, limits_refs
from gitpat_proxy.access.push import RefProblem
from gitpat_proxy.access.refs import Verb, verb_of
from gitpat_proxy.config.model import Config
from gitpat_proxy.git.operation import NotGitError, Operation, Service, operation_of
from gitpat_proxy.git.push import is_ref_name, ref_of_text
from gitpat_proxy.services.access import Access
from gitpat_proxy.services.errors import FactsError, NotFoundError
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store import audit
from gitpat_proxy.store.database import Database

_MOST_REFS = 20
"""So many refs of a push that is in the audit are looked at."""
_SERVICE_OF_EVENT = {
    "clone": Service.UPLOAD_PACK,
    "fetch": Service.UPLOAD_PACK,
    "archive": Service.UPLOAD_ARCHIVE,
    "push": Service.RECEIVE_PACK,
}


@dataclass(frozen=True)
class OperationAsked:
    """An operation that somebody asks about, as typed; None: not given.

    `ref` is the full name of one, as `refs/heads/main`, for a push, or `REF=VERB`; `at` a moment as
    the command line takes it.
    """

    repository: str
    service: str
    ref: str | None = None
    address: str | None = None
    at: str | None = None


@dataclass(frozen=True)
class RecordExplanation:
    """What the audit has of a request, and what would become of it by what holds now.

    `now` is None where the policy had nothing to decide, or the token is not there any more.
    """

    row_id: int
    event: AuditEvent
    now: Explanation | None


@dataclass(frozen=True)
class Explanations:
    """Shows the trace of the one decision; nothing is decided here.

    `problem_of` tells of the repository at an address what `Backend.ref_problem` does; if it
    `looks_on_disk`, also what only the disk tells, which is for the operator alone.
    """

    database: Database
    tokens: Tokens
    access: Access
    clock: Clock
    config: Config
    problem_of: Callable[[tuple[str, ...]], RefProblem]
    looks_on_disk: bool = False

    async def of(self, token_id: str, asked: OperationAsked, account: str | None = None) -> Explanation:
        """Explain what the token may do; with an account only if it is one of its tokens.

        Raises NotFoundError, or FactsError with a sentence for each field that can't be read.
        """
        token, owner = await self._token(token_id, account)
        now = self.clock()
        read = _read(asked, now)
        if read.at < now:
            token, owner = _token_at(token, read.at), _account_at(owner, read.at)
        attempt = self._attempt(read.operation, token, owner, read.address, read.at)
        explanation = self._explain(
            attempt,
            read.changes,
            any_address=read.address is None,
        )
        explanation = replace(explanation, any_ref=len(read.changes) > 1)
        return _with_notes(explanation, now)

    async def of_request(self, request_id: str) -> RecordExplanation:
        """Explain what the audit has of the request that git, the log or a page names."""
        wanted, place = AuditFilter(request=request_id), None
        while True:
            async with self.database.reading() as connection:
                rows, place = await audit.page(connection, wanted, place, 1, _MOST_REFS)
            if rows:
                return await self._of_row(rows[0])
            if place is None:
                break
        raise NotFoundError(
            f"the audit has nothing of the request {request_id}; it keeps what was done, or refused, "
            "with a token that is known",
            f"the log tells of every request: look there for {request_id}",
        )

    async def of_record(self, row_id: int, account: str | None = None) -> RecordExplanation:
        """Explain a record of the audit; with an account only if it is about that one."""
        async with self.database.reading() as connection:
            event = await audit.by_id(connection, row_id, _MOST_REFS)
        if event is None or account not in {None, event.account}:
            raise NotFoundError(f"the audit has no record {row_id}")
        return await self._of_row((row_id, event))

    async def _of_row(self, row: AuditRow) -> RecordExplanation:
        row_id, event = row
        operation = _operation_in(event)
        found = await self.tokens.with_ids([event.token]) if event.token else {}
        if operation is None or event.token not in found:
            return RecordExplanation(row_id, event, None)
        token, owner = found[event.token]
        address = client_address(event.address, (), ())
        token, owner = _token_at(token, event.at), _account_at(owner, event.at)
        attempt = self._attempt(operation, token, owner, address, event.at)
        explanation = self._explain(attempt, _changes_in(event))
        if more := event.details.get("updates_more"):
            note = f"of the refs the first {_MOST_REFS} are looked at, and not {more} more"
            explanation = replace(explanation, notes=(note, *explanation.notes))
        return RecordExplanation(row_id, event, _with_notes(explanation, self.clock()))

    def _explain(
        self,
        attempt: Attempt,
        changes: Sequence[Change],
        *,
        any_address: bool = False,
    ) -> Explanation:
        explanation = explain(
            attempt,
            self.config.missing_scope_status,
            self.problem_of(attempt.operation.path),
            changes,
            any_address=any_address,
        )
        if self.looks_on_disk or not (explanation.refs and limits_refs(attempt)):
            return explanation
        note = "whether a ref stands for another one, or lies in a reftable, is not looked at here"
        return replace(explanation, notes=(*explanation.notes, note))

    def _attempt(
        self,
        operation: Operation,
        token: Token,
        account: Account,
        address: Address | None,
        at: datetime,
    ) -> Attempt:
        return Attempt(operation, token, account, address, at, self.access.of_account(account.name))

    async def _token(self, token_id: str, account: str | None) -> tuple[Token, Account]:
        found = await self.tokens.with_ids([token_id])
        if token_id not in found or account not in {None, found[token_id][0].account}:
            raise NotFoundError(f"there is no token {token_id}", "`token list --status all` shows them")
        return found[token_id]


def _token_at(token: Token, at: datetime) -> Token:
    """Return the token without an end that came later: when it ended is known, how it was edited not,
    and neither how often it had been used.
    """
    return replace(
        token,
        revoked_at=_if_before(token.revoked_at, at),
        was_expired=False,
        uses_left=None,
        parent=token.parent and _token_at(token.parent, at),
    )


def _account_at(account: Account, at: datetime) -> Account:
    return replace(account, disabled_at=_if_before(account.disabled_at, at))


def _if_before(moment: datetime | None, at: datetime) -> datetime | None:
    return moment if moment and moment <= at else None


@dataclass(frozen=True)
class _Read:
    operation: Operation
    changes: Sequence[Change]
    address: Address | None
    at: datetime


def _read(asked: OperationAsked, now: datetime) -> _Read:
    """Raise FactsError with a sentence for each field that can't be used."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    readings: list[tuple[str, str | None, Callable[[str], object]]] = [
        ("service", asked.service, _service_of),
        ("repository", asked.repository, lambda text: _operation_of(text, values.get("service"))),
        ("ref", asked.ref or None, lambda text: _changes_of(text, values.get("service"))),
        ("address", asked.address or None, _address_of),
        ("at", asked.at or None, lambda text: time_of(text, now)),
    ]
    for field, text, read in readings:
        try:
            if text is not None:
                values[field] = read(text)
        except ValueError as error:
            problems[field] = str(error)
    if problems:
        raise FactsError(problems)
    at = values.get("at", now)
    return _Read(values["repository"], values.get("ref", ()), values.get("address"), at)


def _service_of(text: str) -> Service:
    try:
        return Service(f"git-{text.removeprefix('git-')}")
    except ValueError:
        accepted = ", ".join(service.removeprefix("git-") for service in Service)
        raise ValueError(f"{text!r} is no service of Git; accepted: {accepted}") from None


def _operation_of(repository: str, service: Service | None) -> Operation:
    """Read the address that git would ask; the dumb protocol names no service."""
    path, query = f"/{quote(repository.strip('/ '))}/info/refs", f"service={service}" if service else ""
    try:
        return operation_of("GET", path, query)
    except NotGitError:
        raise ValueError(f"{repository!r} is no name of a repository; accepted: as team/app") from None


def _changes_of(text: str, service: Service | None) -> list[Change]:
    if service not in {None, Service.RECEIVE_PACK}:
        raise ValueError("a ref is asked about with receive-pack alone: reading has no limits by refs")
    # A ref's name may have a "=", a verb has none.
    ref, separator, word = text.rpartition("=")
    if not separator:
        ref, word = text, ""
    if not ref.startswith("refs/"):
        raise ValueError(f"{ref!r} is no full name of a ref; accepted: as refs/heads/main")
    if not is_ref_name(ref_of_text(ref)):
        raise ValueError(f"{ref!r} is no name of a ref that git takes; see git help check-ref-format")
    if not word:
        return [(ref, verb) for verb in Verb]
    if word not in set(Verb):
        raise ValueError(f"{word!r} is no verb for a ref; accepted: {', '.join(Verb)}")
    return [(ref, Verb(word))]


def _address_of(text: str) -> Address:
    address = client_address(text, (), ())
    if address is None:
        raise ValueError(f"{text!r} is no address; accepted: as 192.0.2.7 or 2001:db8::7")
    return address


def _operation_in(event: AuditEvent) -> Operation | None:
    """Return what was asked for; None if it was nothing of Git's."""
    service = _SERVICE_OF_EVENT.get(event.event, event.details.get("service"))
    if event.repository is None or service not in {None, *Service}:
        return None
    try:
        return _operation_of(event.repository, Service(str(service)) if service else None)
    except ValueError:
        return None


def _changes_in(event: AuditEvent) -> list[Change]:
    """Return what a push was to change; whether an update was a fast-forward is not known any more."""
    updates: Any = event.details.get("updates", ())
    return [(update["ref"], verb_of(update["old"], update["new"])) for update in updates]


def _with_notes(explanation: Explanation, now: datetime) -> Explanation:
    """Say what a look at another moment than this can't know."""
    at = explanation.attempt.now
    if at == now:
        return explanation
    notes = ["scopes, limits and rules are those that hold now"]
    if at < now and any(token.uses is not None for token in lineage(explanation.attempt.token)):
        notes.append("how many uses were left then is not known, and not looked at")
    if at < explanation.attempt.token.created_at:
        notes.append("the token was not made yet")
    return replace(explanation, notes=(*explanation.notes, *notes))
