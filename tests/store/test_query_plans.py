"""No query looks at a table row by row: how SQLite finds what each of them asks for.

The functions are found by looking through the store, so that a new one can't be forgotten.
"""

import importlib
import inspect
import itertools
import pkgutil
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa

import gitpat_proxy.store
from gitpat_proxy.access.model import AuditEvent, AuditFilter, EventKind, Session, Status
from gitpat_proxy.store import accounts, audit, idempotency, sessions, sign_ins, tokens
from gitpat_proxy.store.connection import Connection
from gitpat_proxy.store.database import Database
from gitpat_proxy.store.tables import metadata
from gitpat_proxy.store.tokens import TokenQuery
from tests.access.examples import NOW, a_token, an_account

Query: TypeAlias = Callable[..., Awaitable[Any]]

SESSION = Session("s-1", "alice", NOW, NOW, NOW, "192.0.2.1", "curl", by_header=False)
PLACE = (NOW, 5)


def audit_filters() -> Iterator[AuditFilter]:
    """Yield every combination of what may be looked for."""
    names = ("token", "account", "kind", "repository", "address", "since")
    values = ("t-1", "alice", EventKind.PUSH, "team/app", "192.0.2.1", NOW - timedelta(days=1))
    for chosen in itertools.product([False, True], repeat=len(names)):
        yield AuditFilter(**{n: v for n, v, c in zip(names, values, chosen, strict=True) if c})


def token_queries() -> Iterator[TokenQuery]:
    """Yield every combination of what the pages and the API ask for."""
    for account, status, search, before in itertools.product(
        ("alice", None), (*Status, None), ("lap", ""), ((NOW, "t-1"), None)
    ):
        yield TokenQuery(account, status, search, before, limit=50)


# What each is called with, behind the connection; each call once.
CALLS: dict[Query, list[tuple[Any, ...]]] = {
    accounts.insert: [(an_account(name="new"), "hash")],
    accounts.named: [("alice",)],
    accounts.password_hash: [("alice",)],
    accounts.everyone: [()],
    accounts.page: [("", "", 50), ("li", "alice", 50)],
    accounts.set_disabled: [("alice", NOW)],
    accounts.set_password_hash: [("alice", "hash")],
    accounts.update: [(an_account(),)],
    audit.insert: [([AuditEvent(NOW, "push")],)],
    audit.first_link: [()],
    audit.last_link: [()],
    audit.holds: [((1, b"chain"),)],
    audit.by_id: [(1, 20)],
    audit.linked: [(0, 50)],
    audit.prune: [(NOW, 50), (NOW + timedelta(days=9999), 2)],
    audit.matching: [(wanted,) for wanted in audit_filters()]
    + [(AuditFilter(after_id=5),), (AuditFilter(after_id=5, account="alice"),)],
    audit.page: [
        (wanted, before, 50) for wanted, before in itertools.product(audit_filters(), (None, PLACE))
    ],
    idempotency.answered: [("alice", b"key")],
    idempotency.insert: [("alice", idempotency.Answered(b"key", b"request", "t-1"), NOW)],
    idempotency.delete_before: [(NOW,)],
    sessions.insert: [(SESSION, b"digest")],
    sessions.by_digest: [(b"digest",)],
    sessions.of_account: [("alice",)],
    sessions.set_last_seen: [("s-1", NOW, "192.0.2.1")],
    sessions.set_authenticated: [("s-1", NOW)],
    sessions.delete: [("s-1", "alice")],
    sessions.delete_others: [("alice", "s-1"), ("alice", None)],
    sessions.delete_outside: [(NOW, NOW)],
    sign_ins.failures: [("account:x",)],
    sign_ins.add_failure: [("account:x", NOW)],
    sign_ins.take_failure_back: [("account:x",)],
    sign_ins.forget_failures: [("account:x",)],
    sign_ins.forget_failures_before: [(NOW,)],
    sign_ins.add_device: [(b"digest", "alice", NOW)],
    sign_ins.knows_device: [(b"digest", "alice")],
    sign_ins.forget_device: [(b"digest",)],
    sign_ins.forget_devices_before: [(NOW,)],
    tokens.insert: [(a_token(), b"digest")],
    tokens.update: [(a_token(),)],
    tokens.take_use: [(["t-1", "t-2"],)],
    tokens.give_use_back: [({"t-1": 1, "t-2": 2},)],
    tokens.set_digest: [("t-1", b"other", "hint")],
    tokens.set_revoked: [("t-1", NOW, "ada", None)],
    tokens.set_last_used: [([("t-1", NOW, "192.0.2.1")],)],
    tokens.by_id: [("t-1",)],
    tokens.by_digest: [(b"digest",)],
    tokens.matching: [(wanted, NOW) for wanted in token_queries()]
    # What the command line lists, and what is revoked at once.
    + [(TokenQuery(account, status), NOW) for account in ("alice", None) for status in (*Status, None)]
    # What was derived from one.
    + [(TokenQuery(parent="t-1"), NOW), (TokenQuery("alice", parent="t-1", limit=50), NOW)],
    tokens.with_ids: [(["t-1", "t-2"],)],
    tokens.names: [(["t-1", "t-2"],)],
    tokens.add_uses: [([("t-1", 1, 1)],)],
    tokens.uses_since: [(["t-1", "t-2"], 1), ([f"t-{number}" for number in range(100)], 1)],
}
# What may go through a whole table, in the order of an index: without a limit, as all is wanted.
WHOLE_TABLE: dict[Query, str] = {
    accounts.everyone: "`account list` shows all",
    audit.matching: "`audit` without a filter shows all",
    tokens.matching: "`token list --account` left out shows all",
}
# What may sort what it has found, and why there is not much of it.
SORTED: dict[Query, str] = {
    sessions.of_account: "only what began in the same microsecond",
}


def functions() -> set[Query]:
    """Return all of the store that asks the database something."""
    found = set()
    for module in pkgutil.iter_modules(gitpat_proxy.store.__path__, "gitpat_proxy.store."):
        if module.name.endswith((".database", ".migrations")):
            continue  # the connection itself, and what makes the tables
        loaded = importlib.import_module(module.name)
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            is_its_own = function.__module__ == module.name and not name.startswith("_")
            if is_its_own and "connection" in inspect.signature(function).parameters:
                found.add(function)
    return found


def test_no_function_of_the_store_is_forgotten() -> None:
    assert {f"{f.__module__}.{f.__name__}" for f in functions()} == {
        f"{f.__module__}.{f.__name__}" for f in CALLS
    }
    assert all(CALLS.values())


@dataclass(frozen=True)
class Plan:
    """A statement, and what SQLite says of how it runs it."""

    statement: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return "\n  ".join([self.statement, *self.steps])


async def plans_of(database: Database, query: Query, arguments: tuple[Any, ...]) -> list[Plan]:
    statements: list[tuple[str, Any]] = []

    def remember(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, many: bool) -> None:
        statements.append((statement, parameters[0] if many else parameters))

    async with database.writing() as connection:
        sa.event.listen(database.engine, "before_cursor_execute", remember)
        if inspect.iscoroutinefunction(query):
            await query(connection, *arguments)
        else:
            await connection.run_sync(query, *arguments)
        sa.event.remove(database.engine, "before_cursor_execute", remember)
        assert statements
        return [await plan_of(connection, *statement) for statement in statements]


async def plan_of(connection: Connection, statement: str, parameters: Any) -> Plan:
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return Plan(re.sub(r"\s+", " ", statement), tuple(row.detail for row in rows))


@pytest.fixture
async def filled(database: Database) -> Database:
    async with database.writing() as connection:
        await accounts.insert(connection, an_account())
    return database


SCAN = re.compile(r"SCAN (?P<table>\w+)(?P<index> USING (COVERING )?INDEX)?")


def faults(query: Query, plan: Plan) -> Iterator[str]:
    """Yield what is wrong with a plan."""
    for step in plan.steps:
        scan = SCAN.match(step)
        # What else is gone through was found by an index, and limited, before.
        if scan and scan["table"] in metadata.tables:
            if not scan["index"]:
                yield f"{step}: row by row"
            elif "LIMIT" not in plan.statement and query not in WHOLE_TABLE:
                yield f"{step}: all of it"
        if "TEMP B-TREE" in step and query not in SORTED:
            yield f"{step}: sorts what may be a million"
        if "AUTOMATIC" in step:
            yield f"{step}: makes an index for this once"


@pytest.mark.parametrize("query", CALLS, ids=lambda f: f"{f.__module__.split('.')[-1]}.{f.__name__}")
async def test_every_query_is_led_by_an_index(filled: Database, query: Query) -> None:
    for arguments in CALLS[query]:
        for plan in await plans_of(filled, query, arguments):
            assert not list(faults(query, plan)), f"{arguments}\n{plan}"


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        *[
            (AuditFilter(repository=repository, address=address, **found), index)
            for repository, address in [("team/app", None), (None, "192.0.2.1")]
            for found, index in [
                ({"account": "rare"}, "audit_by_account"),
                ({"token": "t-1"}, "audit_by_token"),
                ({"kind": EventKind.PUSH}, "audit_by_kind"),
            ]
        ],
        (AuditFilter(address="192.0.2.1"), "audit_by_time"),
        (AuditFilter(repository="team/app", address="192.0.2.1"), "audit_by_repository"),
    ],
)
async def test_a_repository_or_an_address_is_looked_for_among_what_the_rest_leads_to(
    filled: Database, wanted: AuditFilter, index: str
) -> None:
    """A repository may have a million events, of which few are of a certain account."""
    plans = await plans_of(filled, audit.page, (wanted, PLACE, 50))
    assert len(plans) == 2
    for plan in plans:
        assert index in plan.steps[0].split(), plan


async def test_a_repository_alone_is_found_by_its_own_index(filled: Database) -> None:
    [plan] = await plans_of(filled, audit.page, (AuditFilter(repository="team/app"), PLACE, 50))
    assert "audit_by_repository" in plan.steps[0].split(), plan


async def test_what_the_test_above_looks_for_is_found(filled: Database) -> None:
    async def of(statement: str) -> list[str]:
        async with filled.reading() as connection:
            return list(faults(accounts.named, await plan_of(connection, statement, ())))

    assert "row by row" in (await of("SELECT * FROM audit WHERE request = 'r'"))[0]
    assert "row by row" in (await of("DELETE FROM sessions WHERE last_seen_at < 5"))[0]
    assert "row by row" in (await of("UPDATE tokens SET name = '' WHERE name = 'a'"))[0]
    assert "all of it" in (await of("SELECT name FROM accounts ORDER BY name"))[0]
    assert "sorts" in " ".join(await of("SELECT * FROM audit WHERE kind = 'x' ORDER BY event"))
    assert await of("SELECT name FROM accounts ORDER BY name LIMIT 5") == []
    assert await of("SELECT * FROM tokens WHERE id = 'x'") == []
