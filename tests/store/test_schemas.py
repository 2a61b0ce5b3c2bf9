"""An upgrade from every earlier schema, with a database that the code of that time made and filled."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gitpat_proxy.access.model import AuditFilter
from gitpat_proxy.access.moment import day_of, microseconds_of
from gitpat_proxy.access.secret import digest_of, is_well_formed
from gitpat_proxy.cli.context import Invocation
from gitpat_proxy.services.audit import search
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignIn, Visit, WrongPasswordError
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.tables import REVISION
from tests.store.databases import opened
from tests.store.schemas.past import NOW, SECRETS
from tests.store.test_migrations import made_at, scripts, structure
from tests.support.git import Git, make_repository
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

FOLDER = Path(__file__).parent / "schemas"
STORED = sorted(path.stem for path in FOLDER.glob("*.sql"))

READS = ["laptop", "reader", "ends", "service", "edited", "rotatedNew"]
WRITES = ["laptop", "service"]
# Whose secret it is, and what git prints.
REFUSED = {
    "revoked": "was revoked on 2024-12-26 12:00 UTC: left on a train",
    "expired": "expired on 2024-05-30 12:00 UTC",
    "pending": "is valid from 2124-01-01 00:00 UTC on",
    "elsewhere": "may not be used from the address 127.0.0.1",
    "disabled": "The account mallory, which owns the token",
    "items": "has the scope work_items:read, but git-upload-pack needs code:read",
    "rotatedOld": "not a valid personal access token",
}
STATUS = {"revoked": "revoked", "expired": "expired", "pending": "pending"}
EVENTS = {
    *["account_added", "account_disabled", "account_enabled"],
    *["token_created", "token_edited", "token_rotated", "token_revoked"],
    *["clone", "fetch", "archive", "push", "refused"],
}
COMMON = {
    "accounts": "id, name, administrator, service, created_at, disabled_at",
    "tokens": "id, account_id, name, digest, hint, scopes, addresses, created_at, not_before, "
    "expires_at, last_used_at, last_used_from, revoked_at, revoked_by, revoked_reason",
    "audit": "id, at, event, account, token, repository, address, request, details",
}


def load(revision: str, path: Path) -> None:
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FOLDER / f"{revision}.sql").read_text())


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what has been there from the first version on."""
    return {
        table: rows(path, f"SELECT {names} FROM {table} ORDER BY id") for table, names in COMMON.items()
    }


def test_there_is_a_stored_database_of_every_schema_before_the_newest() -> None:
    earlier = [script.revision for script in scripts().walk_revisions() if script.revision != REVISION]
    assert sorted(earlier) == STORED, "make the missing one: tests/store/schemas/make.py says how"


@pytest.mark.parametrize("revision", STORED)
async def test_what_is_stored_is_what_that_version_made(revision: str, tmp_path: Path) -> None:
    """Also: nobody has edited a migration since."""
    path = tmp_path / "stored.db"
    load(revision, path)
    assert rows(path, "SELECT version_num FROM alembic_version") == [(revision,)]
    async with opened(path) as stored, await made_at(tmp_path, revision) as made:
        found: list[dict[str, object]] = []
        for database in (stored, made):
            async with database.reading() as connection:
                found.append(await connection.run_sync(structure))
    assert found[0] == found[1]


@pytest.mark.parametrize("revision", STORED)
def test_what_is_stored_has_every_kind_of_thing(revision: str, tmp_path: Path) -> None:
    path = tmp_path / "stored.db"
    load(revision, path)
    accounts = rows(path, "SELECT name, administrator, service, disabled_at IS NOT NULL FROM accounts")
    assert [row[1:] for row in accounts] == [(1, 0, 0), (0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)]
    assert {event for (event,) in rows(path, "SELECT DISTINCT event FROM audit")} >= EVENTS
    digests = {digest for (digest,) in rows(path, "SELECT digest FROM tokens")}
    living = set(READS) | set(REFUSED) - {"rotatedOld"}
    assert digests == {digest_of(SECRETS[name]) for name in living}
    assert all(is_well_formed(SECRETS[name]) for name in living)


@pytest.fixture(params=STORED)
def upgraded(
    request: pytest.FixtureRequest, tmp_path: Path, start_proxy: Callable[..., Proxy]
) -> Iterator[Proxy]:
    """An installation with the stored database, upgraded by the command; nothing is served."""
    SEEN.secrets |= {secret for secret in SECRETS.values() if is_well_formed(secret)}
    proxy = Proxy(tmp_path / "installation", tokens={"longest_lifetime": "never"})
    make_repository(proxy.repositories / "team" / "app.git")
    load(request.param, proxy.folder / "gitpat.db")
    refused = proxy.cli("account", "list")
    assert f"is of an older version ({request.param}, this one needs {REVISION})" in refused.text
    before = contents(proxy.folder / "gitpat.db")
    proxy.ok("database", "upgrade")
    assert contents(proxy.folder / "gitpat.db") == before
    yield proxy
    if proxy.process:
        proxy.stop()


async def test_an_upgrade_makes_the_schema_that_a_new_database_has(
    upgraded: Proxy, tmp_path: Path
) -> None:
    async with opened(upgraded.folder / "gitpat.db") as old, await made_at(tmp_path, REVISION) as new:
        found: list[dict[str, object]] = []
        for database in (old, new):
            async with database.reading() as connection:
                found.append(await connection.run_sync(structure))
            async with database.reading() as connection:
                assert not (await connection.execute(sa.text("PRAGMA foreign_key_check"))).all()
    assert found[0] == found[1]


def test_old_tokens_open_to_git_what_they_did(upgraded: Proxy) -> None:
    upgraded.start()
    url = f"{upgraded.url}/team/app"
    listed = {
        token["name"]: token
        for token in json.loads(upgraded.ok("token", "list", "--status", "all", "--json"))
    }
    assert {name: t["status"] for name, t in listed.items()} == dict.fromkeys(listed, "active") | STATUS
    assert len(listed) == len(READS) + len(REFUSED) - 1
    for name in READS:
        git = Git(upgraded.home(name), SECRETS[name])
        git("clone", "--quiet", url, "work")
        pushed = git.try_("push", "--quiet", "origin", f"HEAD:refs/heads/{name}", cwd=git.home / "work")
        assert pushed.ok == (name in WRITES), pushed.text
    for name, sentence in REFUSED.items():
        outcome = Git(upgraded.home(name), SECRETS[name]).try_("ls-remote", url)
        assert not outcome.ok
        assert sentence in outcome.text
    assert upgraded.stop() == 0
    # A clone each, refusals, pushes: what is new comes after what is old.
    old = rows(
        upgraded.folder / "gitpat.db", f"SELECT count(*) FROM audit WHERE at <= {microseconds_of(NOW)}"
    )
    new = json.loads(upgraded.ok("audit", "--json", "--since", "5000w"))[old[0][0] :]
    refused_pushes = len(READS) - len(WRITES)
    assert Counter(event["event"] for event in new) == {
        "clone": len(READS),
        "push": len(WRITES),
        # Who has an unknown secret is nobody's token.
        "refused": len(REFUSED) - 1 + refused_pushes,
    }


async def test_the_audit_and_the_uses_of_a_month_are_there(upgraded: Proxy) -> None:
    path = upgraded.folder / "gitpat.db"
    known = rows(path, "SELECT event, account, token, at, details FROM audit ORDER BY at, id")
    async with Invocation(upgraded.config_file).services() as services:
        events = [event for _, event in await search(services.database, AuditFilter())]
        assert [
            (e.event, e.account, e.token, microseconds_of(e.at), json.loads(json.dumps(e.details)))
            for e in events
        ] == [(*row, json.loads(details)) for *row, details in known]
        # Kinds are looked for by their own column, which the first version did not have.
        for kind in {event.kind for event in events}:
            found = await search(services.database, AuditFilter(kind=kind))
            assert [event for _, event in found] == [event for event in events if event.kind == kind]
        tokens = Tokens(services.database, lambda: NOW, Invocation(upgraded.config_file).config)
        everybodys = await tokens.listed(None, None)
        uses = await tokens.uses(everybodys, 30)
    expected = {token.id: [0] * 30 for token in everybodys}
    for event in events:
        if event.is_use and event.token and event.at > NOW - timedelta(days=30):
            expected[event.token][day_of(event.at) - day_of(NOW) - 1] += 1
    assert uses == expected
    by_name = {token.name: token for token in everybodys}
    # What was told: a clone and `days % 5` fetches, 29, 28, 14, 7, 1 and 0 days ago.
    [laptop, reader] = [uses[by_name[name].id] for name in ("laptop", "reader")]
    assert {29 - place: n for place, n in enumerate(laptop) if n} == {
        29: 5,
        28: 4,
        14: 5,
        7: 3,
        1: 2,
        0: 1,
    }
    assert {29 - place: n for place, n in enumerate(reader) if n} == {3: 1, 2: 1}
    assert by_name["laptop"].last_used_at == NOW


def test_the_installation_works_as_a_new_one_does(upgraded: Proxy) -> None:
    assert "FAIL" not in upgraded.ok("check")
    upgraded.start()
    git = upgraded.git("code:read")
    git("ls-remote", f"{upgraded.url}/team/app")
    assert upgraded.stop() == 0


async def test_people_sign_in_with_what_their_password_was(upgraded: Proxy) -> None:
    """From the second version on; before there were none."""
    async with Invocation(upgraded.config_file).services() as services:
        who = {account.name for account in await services.accounts.listed() if account.has_password}
        if not who:
            return
        assert who == {"alice", "bob"}
        sign_in = SignIn(services.database, lambda: NOW, Passwords(), 0)
        visit = Visit(ip_address("192.0.2.7"), browser="", device=None, request="1")
        assert (await sign_in.by_password("alice", SECRETS["new password"], visit)).session_secret
        with pytest.raises(WrongPasswordError):
            await sign_in.by_password("alice", SECRETS["password"], visit)
        # Of three she ended two.
        assert len(await Sessions(services.database, lambda: NOW).listed("alice")) == 2
