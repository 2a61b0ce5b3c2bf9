"""Who may own tokens."""

from datetime import timedelta

import pytest

from gitpat_proxy.access.model import Account, AuditFilter
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.audit import search
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database
from tests.services.conftest import FakeClock
from tests.services.token_life import NO_BOB, create, refusal


async def add(accounts: Accounts, name: str) -> Account:
    return await accounts.add(name, administrator=False, service=False, by="ada")


@pytest.mark.parametrize(("administrator", "service"), [(False, False), (True, False), (False, True)])
async def test_an_account_is_added_as_asked(
    accounts: Accounts, clock: FakeClock, administrator: bool, service: bool
) -> None:
    account = await accounts.add("bob", administrator=administrator, service=service, by="ada")
    assert account == Account("bob", administrator, service, clock.now, None)
    assert await accounts.listed() == [account]


async def test_a_name_is_taken_once_and_checked(accounts: Accounts, database: Database) -> None:
    first = await add(accounts, "bob")
    assert await refusal(add(accounts, "bob")) == "there is an account bob already"
    assert "can't be an account's name; accepted" in await refusal(add(accounts, "a b"))
    assert await accounts.listed() == [first]
    assert len(await search(database, AuditFilter())) == 1


async def test_names_that_differ_in_case_are_different(accounts: Accounts) -> None:
    await add(accounts, "bob")
    await add(accounts, "Bob")
    assert [account.name for account in await accounts.listed()] == ["Bob", "bob"]


async def test_disabling_holds_from_its_first_time_until_it_is_undone(
    accounts: Accounts, tokens: Tokens, clock: FakeClock
) -> None:
    secret, token = await create(tokens)
    since = clock.now
    for _ in range(2):
        assert (await accounts.disable("alice", by="ada")).disabled_at == since
        assert await tokens.find(secret) == (token, (await accounts.listed())[0])
        clock.now += timedelta(hours=1)
    for _ in range(2):
        assert (await accounts.enable("alice", by="ada")).disabled_at is None
    assert (await accounts.listed())[0].disabled_at is None


async def test_an_account_that_is_not_there_is_said(accounts: Accounts) -> None:
    for action in (accounts.disable("bob", by="ada"), accounts.enable("bob", by="ada")):
        assert await refusal(action) == NO_BOB


async def test_the_audit_tells_what_changed_and_by_whom(accounts: Accounts, database: Database) -> None:
    await accounts.add("bob", administrator=True, service=False, by="ada")
    for _ in range(2):
        await accounts.disable("bob", by="carol")
    for _ in range(2):
        await accounts.enable("bob", by="dan")
    told = [(e.event, e.account, e.details) for _, e in await search(database, AuditFilter())]
    assert told == [
        ("account_added", "bob", {"by": "ada", "administrator": True, "service": False}),
        ("account_disabled", "bob", {"by": "carol"}),
        ("account_enabled", "bob", {"by": "dan"}),
    ]
