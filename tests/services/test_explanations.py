"""What is asked about is read, at the moment that is meant, and a request is found in the audit."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gitpat_proxy.access.explanation import verdict
from gitpat_proxy.access.model import Account, AuditEvent, Author, Token
from gitpat_proxy.access.push import RefProblem
from gitpat_proxy.access.refs import ref_rule_of
from gitpat_proxy.access.refusal import Code
from gitpat_proxy.backends.ref_problems import no_problem
from gitpat_proxy.config.model import Config
from gitpat_proxy.services import explanations as service
from gitpat_proxy.services.access import Access
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.errors import FactsError, NotFoundError
from gitpat_proxy.services.explanations import Explanations, OperationAsked
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store import audit
from gitpat_proxy.store.database import Database
from tests.access.examples import NOW
from tests.services.conftest import ROUTES, FakeClock
from tests.services.token_life import READ, create

CLONE = OperationAsked("team/app", "upload-pack")
PUSH = OperationAsked("team/app", "receive-pack")
MAIN = "refs/heads/main"
BY = Author("test")
WRITE = replace(READ, scopes=["code:write"])


def anywhere(_path: tuple[str, ...]) -> RefProblem:
    return no_problem


@pytest.fixture
def explanations(database: Database, tokens: Tokens, clock: FakeClock) -> Explanations:
    config = Config.model_validate({"routes": ROUTES})
    return Explanations(database, tokens, Access(config), clock, config, anywhere)


async def recorded(database: Database, *events: AuditEvent) -> None:
    async with database.writing() as connection:
        await connection.run_sync(audit.insert, events)


def an_event(of: Token, /, event: str = "refused", **changes: Any) -> AuditEvent:
    asked = AuditEvent(
        NOW, event, "alice", of.id, "team/app", "192.0.2.7", "abcdef012345", {"code": "x"}
    )
    return replace(asked, **changes)


async def test_a_token_as_it_is_now(explanations: Explanations, tokens: Tokens) -> None:
    _, token = await create(tokens)
    assert (await explanations.of(token.id, CLONE)).refusal is None
    refused = await explanations.of(token.id, PUSH)
    assert refused.refusal is not None
    assert refused.refusal.rule == f"token {token.id}, scopes"
    assert refused.attempt.operation.repository == "team/app"


@pytest.mark.parametrize(
    ("typed", "name"),
    [("/team/app.git/", "team/app"), (" team/app", "team/app"), ("a b/c%41ü", "a b/c%41ü")],
)
async def test_a_repository_as_it_is_typed(
    explanations: Explanations, tokens: Tokens, typed: str, name: str
) -> None:
    _, token = await create(tokens)
    explanation = await explanations.of(token.id, OperationAsked(typed, "git-upload-pack"))
    assert explanation.attempt.operation.repository == name


@pytest.mark.parametrize(
    ("asked", "field", "sentence"),
    [
        (
            OperationAsked("team//app", "upload-pack"),
            "repository",
            "'team//app' is no name of a repository",
        ),
        (OperationAsked("", "upload-pack"), "repository", "'' is no name of a repository"),
        (
            OperationAsked("app", "push"),
            "service",
            "'push' is no service of Git; accepted: upload-pack, ",
        ),
        (
            OperationAsked("app", "upload-pack", MAIN),
            "ref",
            "a ref is asked about with receive-pack alone",
        ),
        (OperationAsked("app", "receive-pack", "main"), "ref", "'main' is no full name of a ref"),
        (OperationAsked("app", "receive-pack", f"{MAIN}=write"), "ref", "'write' is no verb for a ref"),
        (
            OperationAsked("app", "receive-pack", "refs/heads/x.lock=create"),
            "ref",
            "'refs/heads/x.lock' is no name of a ref that git takes; see git help check-ref-format",
        ),
        (
            OperationAsked("app", "receive-pack", "refs/heads/\udcff"),
            "ref",
            "'refs/heads/\\udcff' is no",
        ),
        (replace(CLONE, address="here"), "address", "'here' is no address"),
        (replace(CLONE, at="soon"), "at", "'soon' is no time that can be used"),
    ],
)
async def test_what_can_not_be_read_is_told_by_field(
    explanations: Explanations, tokens: Tokens, asked: OperationAsked, field: str, sentence: str
) -> None:
    _, token = await create(tokens)
    with pytest.raises(FactsError) as caught:
        await explanations.of(token.id, asked)
    assert list(caught.value.problems) == [field]
    assert caught.value.problems[field].startswith(sentence)


async def test_all_that_can_not_be_read_is_told_at_once(
    explanations: Explanations, tokens: Tokens
) -> None:
    _, token = await create(tokens)
    with pytest.raises(FactsError) as caught:
        await explanations.of(token.id, OperationAsked("..", "x", "y", "z", "soon"))
    assert set(caught.value.problems) == {"repository", "service", "ref", "address", "at"}


async def test_a_token_of_somebody_else_is_not_there(explanations: Explanations, tokens: Tokens) -> None:
    _, token = await create(tokens)
    assert (await explanations.of(token.id, CLONE, "alice")).refusal is None
    for token_id, account in ((token.id, "bob"), ("babab-babab", "alice"), ("babab-babab", None)):
        with pytest.raises(NotFoundError, match=f"there is no token {token_id}"):
            await explanations.of(token_id, CLONE, account)


async def test_a_moment_to_come(explanations: Explanations, tokens: Tokens) -> None:
    _, token = await create(tokens, replace(READ, expires="30d", not_before="10d"))
    days = {day: await explanations.of(token.id, replace(CLONE, at=day)) for day in ("5d", "20d", "40d")}
    codes = {day: found.refusal and found.refusal.code.value for day, found in days.items()}
    assert codes == {"5d": "token_not_yet_valid", "20d": None, "40d": "token_expired"}
    assert days["5d"].notes == ("scopes, limits and rules are those that hold now",)


async def test_what_ended_later_was_not_over_then(
    explanations: Explanations, tokens: Tokens, accounts: Accounts, clock: FakeClock
) -> None:
    _, token = await create(tokens)
    clock.now += timedelta(days=2)
    await tokens.revoke([token.id], "leaked", by=BY)
    await accounts.disable("alice", by=BY)
    clock.now += timedelta(days=1)
    for at, code in (
        (NOW + timedelta(days=1), None),
        (NOW + timedelta(days=2, hours=1), "token_revoked"),
        (NOW + timedelta(days=9), "token_revoked"),
    ):
        found = await explanations.of(token.id, replace(CLONE, at=at.isoformat()))
        assert (found.refusal and found.refusal.code.value) == code
    before = await explanations.of(token.id, replace(CLONE, at="2026-01-01"))
    assert before.notes[-1] == "the token was not made yet"


async def test_the_use_that_was_the_last_is_not_held_against_itself(
    explanations: Explanations, tokens: Tokens, database: Database, clock: FakeClock
) -> None:
    _, token = await create(tokens, replace(READ, uses=1))
    await tokens.take_use(token.id)
    await recorded(database, an_event(token, event="clone", details={}))
    clock.now += timedelta(hours=1)
    note = "how many uses were left then is not known, and not looked at"
    found = (await explanations.of_request("abcdef012345")).now
    assert found is not None
    assert (found.refusal, found.notes[-1]) == (None, note)
    now = await explanations.of(token.id, CLONE)
    assert now.refusal is not None
    assert (now.refusal.code, now.notes) == (Code.TOKEN_USED_UP, ())


async def test_one_that_is_seen_expired_was_alive_before(
    explanations: Explanations, tokens: Tokens, clock: FakeClock
) -> None:
    _, token = await create(tokens, replace(READ, expires="1d"))
    clock.now += timedelta(days=2)
    now = await explanations.of(token.id, CLONE)
    assert now.refusal is not None
    found = await explanations.of(token.id, replace(CLONE, at=f"{NOW + timedelta(hours=1)}"))
    assert found.refusal is None


async def test_what_holds_now_is_what_the_gate_sees(
    database: Database, tokens: Tokens, clock: FakeClock
) -> None:
    """A token that was seen expired stays so where the clock is put back; and no clock stands still."""

    def ticking() -> datetime:
        clock.now += timedelta(microseconds=1)
        return clock.now

    config = Config.model_validate({"routes": ROUTES})
    secret, token = await create(tokens, replace(READ, expires="1d"))
    clock.now += timedelta(days=2)
    await tokens.find(secret)
    clock.now -= timedelta(days=2)
    explanation = await Explanations(database, tokens, Access(config), ticking, config, anywhere).of(
        token.id, CLONE
    )
    assert verdict(explanation).startswith("Refused: ")
    assert explanation.notes == ()


async def test_a_request_is_found_by_its_id(
    explanations: Explanations, tokens: Tokens, database: Database
) -> None:
    _, token = await create(tokens)
    details = {"code": "scope_missing", "service": "git-receive-pack"}
    await recorded(
        database,
        an_event(token, request="000000000000"),
        an_event(token, details=details),
        an_event(token, request="111111111111"),
    )
    found = await explanations.of_request("abcdef012345")
    assert found.event.details == details
    assert found.now is not None
    assert verdict(found.now).startswith(f'Refused: The token "{token.name}" ({token.id}) has the scope')
    assert found.now.attempt.now == NOW
    with pytest.raises(NotFoundError, match="the audit has nothing of the request 222222222222"):
        await explanations.of_request("222222222222")


async def test_a_request_is_found_however_far_back_it_is(
    explanations: Explanations,
    tokens: Tokens,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "_MOST_LOOKED_AT", 3)
    _, token = await create(tokens)
    later = [an_event(token, request=f"{number:012}") for number in range(10)]
    await recorded(database, an_event(token), *later)
    assert (await explanations.of_request("abcdef012345")).event.request == "abcdef012345"
    with pytest.raises(NotFoundError):
        await explanations.of_request("222222222222")


async def test_a_record_of_somebody_else_is_not_there(
    explanations: Explanations, tokens: Tokens, database: Database
) -> None:
    _, token = await create(tokens)
    await recorded(database, an_event(token))
    row_id = (await explanations.of_request("abcdef012345")).row_id
    assert (await explanations.of_record(row_id, "alice")).event.token == token.id
    for record, account in ((row_id, "bob"), (row_id + 1, "alice"), (row_id + 1, None)):
        with pytest.raises(NotFoundError, match=f"the audit has no record {record}"):
            await explanations.of_record(record, account)


@pytest.mark.parametrize(
    ("changes", "service"),
    [
        ({"event": "clone", "details": {}}, "git-upload-pack"),
        ({"event": "fetch", "details": {}}, "git-upload-pack"),
        ({"event": "archive", "details": {}}, "git-upload-archive"),
        ({"event": "push", "details": {}}, "git-receive-pack"),
        ({"details": {"code": "busy", "service": "git-upload-archive"}}, "git-upload-archive"),
        ({"details": {"code": "dumb_protocol_off", "service": None}}, None),
    ],
)
async def test_what_was_asked_is_asked_again(
    explanations: Explanations,
    tokens: Tokens,
    database: Database,
    changes: dict[str, Any],
    service: str | None,
) -> None:
    _, token = await create(tokens)
    await recorded(database, an_event(token, **changes))
    found = await explanations.of_request("abcdef012345")
    assert found.now is not None
    assert found.now.attempt.operation.service == service


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "token_edited", "repository": None, "details": {}},
        {"details": {"code": "scope_missing", "service": "api"}, "repository": None},
        {"token": "babab-babab"},
        {"token": None},
        {"repository": "team//app"},
    ],
)
async def test_where_the_policy_had_nothing_to_decide(
    explanations: Explanations, tokens: Tokens, database: Database, changes: dict[str, Any]
) -> None:
    _, token = await create(tokens)
    await recorded(database, an_event(token, **changes))
    assert (await explanations.of_request("abcdef012345")).now is None


class Limited(Tokens):
    """All tokens may update `main`, and nothing else."""

    async def with_ids(self, token_ids: Any) -> dict[str, tuple[Token, Account]]:
        found = await super().with_ids(token_ids)
        refs = (ref_rule_of(f"{MAIN}=update"),)
        return {i: (replace(token, refs=refs), account) for i, (token, account) in found.items()}


async def test_the_refs_of_a_push_are_asked_about_one_by_one(
    database: Database, tokens: Tokens, clock: FakeClock
) -> None:
    config = Config.model_validate({"routes": ROUTES})
    limited = Explanations(
        database, Limited(database, clock, config), Access(config), clock, config, anywhere
    )
    _, token = await create(tokens, WRITE)
    none, one, other = "0" * 40, "1" * 40, "2" * 40
    updates = [
        {"ref": ref, "old": old, "new": new, "outcome": "ok"}
        for ref, old, new in [
            (MAIN, one, other),
            ("refs/tags/v1", none, one),
            ("refs/heads/old", one, none),
        ]
    ]
    await recorded(database, an_event(token, event="push", details={"updates": updates}))
    found = (await limited.of_request("abcdef012345")).now
    assert found is not None
    assert [(r.ref, r.verb.value, r.refusal is None) for r in found.refs] == [
        (MAIN, "update", True),
        ("refs/tags/v1", "create", False),
        ("refs/heads/old", "delete", False),
    ]
    assert found.refusal is not None
    for ref, permitted in ((MAIN, True), (f"{MAIN}=update", True), (f"{MAIN}=force", False)):
        asked = await limited.of(token.id, replace(PUSH, ref=ref))
        assert (asked.refusal is None) == permitted


async def test_what_only_the_disk_tells_is_said_not_to_be_looked_at(
    database: Database, tokens: Tokens, clock: FakeClock
) -> None:
    config = Config.model_validate({"routes": ROUTES})
    limited = Limited(database, clock, config)
    for looks_on_disk in (False, True):
        explanations = Explanations(
            database, limited, Access(config), clock, config, anywhere, looks_on_disk
        )
        _, token = await create(tokens, replace(WRITE, name=f"ci {looks_on_disk}"))
        found = await explanations.of(token.id, replace(PUSH, ref=MAIN, address="192.0.2.7"))
        note = "whether a ref stands for another one, or lies in a reftable, is not looked at here"
        assert found.notes == (() if looks_on_disk else (note,))
        without = await explanations.of(token.id, PUSH)
        assert note not in without.notes


async def test_of_many_refs_the_first_are_looked_at(
    explanations: Explanations, tokens: Tokens, database: Database
) -> None:
    _, token = await create(tokens, WRITE)
    updates = [
        {"ref": f"refs/heads/{n}", "old": "0" * 40, "new": "1" * 40, "outcome": "ok"} for n in range(30)
    ]
    await recorded(database, an_event(token, event="push", details={"updates": updates}))
    found = await explanations.of_request("abcdef012345")
    assert found.now is not None
    assert len(found.now.refs) == service._MOST_REFS
    assert found.now.notes[0] == "of the refs the first 20 are looked at, and not 10 more"
