"""Who may own tokens."""

from datetime import timedelta
from typing import Any

import pytest

from gitpat_proxy.access.model import Account, AuditFilter, Author
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.audit import search
from gitpat_proxy.services.errors import FactsError, ForbiddenError
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database
from tests.services.conftest import PASSWORDS, FakeClock
from tests.services.signing_in import (
    HERE,
    HTPASSWD,
    OTHER_PASSWORD,
    PASSWORD,
    everything,
    hash_of,
    told,
)
from tests.services.token_life import ADA, NO_BOB, create, refusal


async def add(accounts: Accounts, name: str, **facts: Any) -> Account:
    return await accounts.add(name, **{"administrator": False, "service": False, "by": ADA} | facts)


async def fits(database: Database, name: str, password: str) -> bool:
    return (await PASSWORDS.verify(password, hash_of(database, name)))[0]


@pytest.mark.parametrize(("administrator", "service"), [(False, False), (True, False), (False, True)])
async def test_an_account_is_added_as_asked(
    accounts: Accounts, clock: FakeClock, administrator: bool, service: bool
) -> None:
    account = await accounts.add("bob", administrator=administrator, service=service, by=ADA)
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
        assert (await accounts.disable("alice", by=ADA)).disabled_at == since
        assert await tokens.find(secret) == (token, (await accounts.listed())[0])
        clock.now += timedelta(hours=1)
    for _ in range(2):
        assert (await accounts.enable("alice", by=ADA)).disabled_at is None
    assert (await accounts.listed())[0].disabled_at is None


async def test_an_account_that_is_not_there_is_said(accounts: Accounts) -> None:
    for action in (accounts.disable("bob", by=ADA), accounts.enable("bob", by=ADA)):
        assert await refusal(action) == NO_BOB


async def test_the_audit_tells_what_changed_and_by_whom(accounts: Accounts, database: Database) -> None:
    await accounts.add("bob", administrator=True, service=False, by=ADA)
    for _ in range(2):
        await accounts.disable("bob", by=Author("carol"))
    for _ in range(2):
        await accounts.enable("bob", by=Author("dan"))
    told = [(e.event, e.account, e.details) for _, e in await search(database, AuditFilter())]
    assert told == [
        ("account_added", "bob", {"by": "ada", "administrator": True, "service": False}),
        ("account_disabled", "bob", {"by": "carol"}),
        ("account_enabled", "bob", {"by": "dan"}),
    ]


async def test_an_account_may_have_a_password_from_the_beginning(
    accounts: Accounts, database: Database
) -> None:
    account = await add(accounts, "bob", password=PASSWORD)
    assert account.has_password
    assert await accounts.get("bob") == account
    assert await fits(database, "bob", PASSWORD)
    assert not await fits(database, "bob", OTHER_PASSWORD)
    assert not (await add(accounts, "carol")).has_password
    assert hash_of(database, "carol") is None


@pytest.mark.parametrize(
    ("name", "password", "problem"),
    [
        ("bob", "short", {"password": "a password has 10 to 256 characters"}),
        ("bob", "", {"password": "a password has 10 to 256 characters"}),
        ("bob", "1234567890", {"password": "this password is among the most common ones"}),
        ("a b", PASSWORD, {"name": "'a b' can't be an account's name"}),
        ("alice", PASSWORD, {"name": "there is an account alice already"}),
    ],
)
async def test_what_can_not_be_used_is_named_and_nothing_is_added(
    accounts: Accounts, database: Database, name: str, password: str, problem: dict[str, str]
) -> None:
    await add(accounts, "alice")
    before = everything(database)
    with pytest.raises(FactsError) as caught:
        await add(accounts, name, password=password)
    [(field, sentence)] = problem.items()
    assert caught.value.problems.keys() == {field}
    assert caught.value.problems[field].startswith(sentence)
    assert everything(database) == before


async def test_a_service_has_no_password_whoever_gives_it_one(
    accounts: Accounts, database: Database
) -> None:
    sentence = "ci is a service: it has no password and can't sign in"
    with pytest.raises(ForbiddenError, match=sentence):
        await add(accounts, "ci", service=True, password=PASSWORD)
    assert await accounts.listed() == []
    await add(accounts, "ci", service=True)
    for change in (
        accounts.set_password("ci", PASSWORD, by=ADA),
        accounts.change_password("ci", PASSWORD, session="s", by=ADA),
    ):
        with pytest.raises(ForbiddenError, match=sentence):
            await change
    done, problems = await accounts.import_htpasswd([f"ci:{HTPASSWD['bcrypt']}"], by=ADA)
    assert (done, problems) == ([], ["line 1: ci is a service"])
    assert hash_of(database, "ci") is None


async def test_a_password_that_is_set_ends_all_sessions_of_its_account(
    accounts: Accounts, sign_in: SignIn, sessions: Sessions, database: Database
) -> None:
    for name in ("alice", "bob"):
        await add(accounts, name, password=PASSWORD)
        for _ in range(2):
            await sign_in.by_header(name, HERE, create_account=False)
    for bad in ("short", "1234567890"):
        assert await refusal(accounts.set_password("alice", bad, by=ADA))
    assert len(await sessions.listed("alice")) == 2
    await accounts.set_password("alice", OTHER_PASSWORD, by=ADA)
    assert await sessions.listed("alice") == []
    assert len(await sessions.listed("bob")) == 2
    assert await fits(database, "alice", OTHER_PASSWORD)
    assert await fits(database, "bob", PASSWORD)
    assert (await told(database))[-1].event == "password_set"
    assert await refusal(accounts.set_password("carol", PASSWORD, by=ADA))


async def test_a_password_that_is_changed_ends_all_sessions_but_ones_own(
    accounts: Accounts, sign_in: SignIn, sessions: Sessions, database: Database
) -> None:
    for name in ("alice", "bob"):
        await add(accounts, name, password=PASSWORD)
        for _ in range(3):
            await sign_in.by_header(name, HERE, create_account=False)
    own = (await sessions.listed("alice"))[1]
    author = Author("alice", "192.0.2.1", "r-9", confined_to="alice")
    with pytest.raises(FactsError) as caught:
        await accounts.change_password("alice", "short", session=own.id, by=author)
    assert caught.value.problems.keys() == {"new"}
    assert len(await sessions.listed("alice")) == 3
    await accounts.change_password("alice", OTHER_PASSWORD, session=own.id, by=author)
    assert await sessions.listed("alice") == [own]
    assert len(await sessions.listed("bob")) == 3
    assert await fits(database, "alice", OTHER_PASSWORD)
    changed = (await told(database))[-1]
    assert (changed.event, changed.address, changed.request) == ("password_changed", "192.0.2.1", "r-9")
    assert changed.details == {"by": "alice"}


async def test_the_people_of_an_htpasswd_file_are_taken_over(
    accounts: Accounts, database: Database
) -> None:
    await add(accounts, "carol")
    await add(accounts, "dave", password=PASSWORD)
    await add(accounts, "ci", service=True)
    await accounts.disable("carol", by=ADA)
    unusable = "is kept in a form that can't be used"
    # each line, and what is said of it
    lines = [
        ("# a comment", None),
        ("", None),
        ("   ", None),
        ("  # another", None),
        *[(f"{kind}:{hashed}", None) for kind, hashed in HTPASSWD.items()],
        (f"windows:{HTPASSWD['bcrypt']}\r\n", None),
        (f"spaces: {HTPASSWD['bcrypt']} ", None),
        (f"carol:{HTPASSWD['bcrypt']}", None),
        (f"windows:{HTPASSWD['sha1']}", "windows has a password already"),
        (f"dave:{HTPASSWD['bcrypt']}", "dave has a password already"),
        (f"ci:{HTPASSWD['bcrypt']}", "ci is a service"),
        ("plain:correct horse", f"the password of plain {unusable}"),
        (f"cut:{HTPASSWD['bcrypt'][:-1]}", f"the password of cut {unusable}"),
        ("digest:realm:0123456789abcdef0123456789abcdef", f"the password of digest {unusable}"),
        ("nothing:", f"the password of nothing {unusable}"),
        ("locked:!", f"the password of locked {unusable}"),
        ("nocolon", f"the password of nocolon {unusable}"),
        (f"a b:{HTPASSWD['bcrypt']}", "'a b' can't be an account's name; accepted: "),
        (f":{HTPASSWD['bcrypt']}", "'' can't be an account's name; accepted: "),
        (f" bob:{HTPASSWD['bcrypt']}", "' bob' can't be an account's name; accepted: "),
        (f"last:{HTPASSWD['apr1']}", None),
    ]
    done, problems = await accounts.import_htpasswd((line for line, _ in lines), by=ADA)
    names = [*HTPASSWD, "windows", "spaces", "carol", "last"]
    assert done == names
    expected = [(f"line {number}: ", said) for number, (_, said) in enumerate(lines, 1) if said]
    assert len(problems) == len(expected)
    for problem, (place, said) in zip(problems, expected, strict=True):
        assert problem.startswith(place + said)
        assert PASSWORD not in problem
        assert "$" not in problem
    assert {account.name for account in await accounts.listed()} == {*names, "dave", "ci"}
    for name in names:
        account = await accounts.get(name)
        assert (account.has_password, account.administrator, account.service) == (True, False, False)
        assert (account.disabled_at is not None) == (name == "carol")
        assert await fits(database, name, PASSWORD)
    assert hash_of(database, "windows") == HTPASSWD["bcrypt"]
    imported = [event for event in await told(database) if event.event == "password_imported"]
    assert [event.account for event in imported] == names
    # Once more there is nothing left to do.
    again = [line for line, said in lines if not said]
    assert (await accounts.import_htpasswd(again, by=ADA))[0] == []


async def test_accounts_are_looked_through_by_name_page_by_page(
    accounts: Accounts, tokens: Tokens
) -> None:
    for name in ("bob", "Bob", "b_b", "b-b", "carol"):
        await add(accounts, name)
    for _ in range(3):
        await create(tokens)

    async def names(search: str, limit: int) -> list[list[str]]:
        pages: list[list[str]] = []
        after = ""
        while page := await accounts.page(search, after, limit):
            assert all(count == (3 if account.name == "alice" else 0) for account, count in page)
            pages.append([account.name for account, _ in page])
            after = pages[-1][-1]
        return pages

    assert await names("", 10) == [["Bob", "alice", "b-b", "b_b", "bob", "carol"]]
    assert await names("", 4) == [["Bob", "alice", "b-b", "b_b"], ["bob", "carol"]]
    assert await names("BO", 1) == [["Bob"], ["bob"]]
    assert await names("_", 9) == [["b_b"]]
    assert await names("%", 9) == await names("nobody", 9) == []


async def test_no_password_and_no_hash_gets_into_the_audit(
    accounts: Accounts, database: Database
) -> None:
    await add(accounts, "alice", password=PASSWORD)
    await accounts.import_htpasswd([f"bob:{HTPASSWD['bcrypt']}"], by=ADA)
    await accounts.set_password("alice", OTHER_PASSWORD, by=ADA)
    await accounts.change_password("alice", PASSWORD, session="s", by=ADA)
    kept = [event for event in await told(database) if event.event.startswith("password_")]
    assert [(event.event, event.details) for event in kept] == [
        (f"password_{what}", {"by": "ada"}) for what in ("imported", "set", "changed")
    ]
    for text in (PASSWORD, OTHER_PASSWORD):
        assert text not in everything(database)


async def test_an_account_becomes_an_administrator_and_an_ordinary_one_again(
    accounts: Accounts, database: Database
) -> None:
    await accounts.add("alice", administrator=False, service=False, by=ADA)
    for administrator in (True, True, False):
        edited = await accounts.set_administrator("alice", administrator=administrator, by=ADA)
        assert edited.administrator == administrator
        assert await accounts.get("alice") == edited
    found = [
        event for _, event in await search(database, AuditFilter()) if event.event == "account_edited"
    ]
    assert [event.details["changes"] for event in found] == [
        {"administrator": [False, True]},
        {"administrator": [True, False]},
    ]
