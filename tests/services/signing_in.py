"""What the tests of passwords, sign-ins and sessions share."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address

from gitpat_proxy.access.model import AuditEvent, AuditFilter, Session
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.audit import search
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import SignedIn, SignIn, Visit
from gitpat_proxy.store.database import Database
from tests.services.token_life import ADA

PASSWORD, OTHER_PASSWORD, WRONG = "correct horse", "battery staple", "correct house"
# What `htpasswd -nb` makes of the first, with -B, -5, -2, -m and -s.
HTPASSWD = {
    "bcrypt": "$2y$05$I4AbGNpiXhRtnMq3PNReo.Vk2.SW8r18Z1BTuKkt5217XtuKwDoye",
    "sha512-crypt": "$6$ZobxIQqZPoUNqJP6$Zx/bLjSzbsyJeEEfyBUInFCKqNoqxFojU9nuINcOzRixyubUvWFJXqWrj"
    "UCRQn1cpOxETcSLc443zyGDFleOD1",
    "sha256-crypt": "$5$gXWTiUDEQlbLcYxD$xtrkbwtvvt29zGIdyQWPzqYDKcmx13u/nqFPJt507a2",
    "apr1": "$apr1$f5snOJt2$F6AKZJpyu4fpjybUc2vdA0",
    "sha1": "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
}
HERE = Visit(ip_address("192.0.2.1"), "Firefox", None, "r-1")
"""A browser that is new."""


def elsewhere(number: int = 2) -> Visit:
    return replace(HERE, address=ip_address("192.0.2.0") + number)


async def add(accounts: Accounts, name: str = "alice", password: str | None = PASSWORD) -> None:
    await accounts.add(name, administrator=False, service=False, password=password, by=ADA)


async def session_of(sessions: Sessions, signed_in: SignedIn) -> Session:
    """Return the session that has just begun here."""
    found = await sessions.find(signed_in.session_secret, HERE.address_text)
    assert found
    return found[0]


async def opens(sign_in: SignIn, name: str, password: str) -> SignedIn:
    """Sign in from an address that nobody has failed from."""
    return await sign_in.by_password(name, password, elsewhere(200))


async def told(database: Database) -> list[AuditEvent]:
    return [event for _, event in await search(database, AuditFilter())]


def hash_of(database: Database, name: str = "alice") -> str | None:
    """Return what is kept of a password."""
    with closing(sqlite3.connect(database.path)) as connection:
        rows = connection.execute("SELECT password_hash FROM accounts WHERE name = ?", (name,))
        hashed: str | None = rows.fetchone()[0]
    return hashed


def everything(database: Database) -> str:
    """Return all that the database holds, as one text."""
    with closing(sqlite3.connect(database.path)) as connection:
        return "\n".join(connection.iterdump())
