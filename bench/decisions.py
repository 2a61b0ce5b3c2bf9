"""What a decision costs with many rules and many tokens: from the secret that came to yes or no."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.filling import add_tokens
from bench.goals import AtMost
from bench.measure import Measure, Row, Tools, Values
from bench.servers import GitpatProxy, Server
from bench.surroundings import WORK
from gitpat_proxy.access.model import Author
from gitpat_proxy.access.patterns import RepositoryPatterns
from gitpat_proxy.access.policy import Attempt, checks, first_refusal, ref_checks
from gitpat_proxy.access.refs import Verb, ref_rule_of
from gitpat_proxy.access.rules import AccessRule, AccessRules
from gitpat_proxy.access.secret import digest_of, make_secret
from gitpat_proxy.config.model import Config
from gitpat_proxy.git.operation import operation_of
from gitpat_proxy.services.accounts import Accounts
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.tokens import Tokens
from gitpat_proxy.store.database import Database, upgrade

_RULES = 1_000
_TOKENS = 100_000
_ASKED = 500
"""So many tokens are asked about, each once: what is remembered of one row helps no other."""
_ACCOUNT = "bench"
_REF = "refs/heads/main"


def decision(_tools: Tools) -> Measure:
    """Measure in this process, without a server: the token's look-up, its account's rules, the checks.

    All rules hold for the account, and the last alone for the repository: nothing is spared. It is CPU
    time, which is all that a decision takes where the database is in memory.
    """

    def run(server: Server) -> Values:
        if not isinstance(server, GitpatProxy):
            return (None,)
        with TemporaryDirectory(prefix="decision-", dir=WORK) as folder:
            return (asyncio.run(_milliseconds(Path(folder) / "gitpat.db")),)

    label = f"decision, {_RULES:,} rules, {_TOKENS:,} tokens"
    return Measure("decision", (Row(label, "ms of CPU", goal=AtMost(5)),), run)


async def _milliseconds(file: Path) -> float:
    config = Config.model_validate({"routes": [{"path": "/", "upstream": "http://127.0.0.1:9/"}]})
    async with Database(f"sqlite:///{file}") as database:
        await upgrade(database)
        accounts = Accounts(database, utc_now, Passwords())
        await accounts.add(_ACCOUNT, administrator=False, service=False, by=Author("bench"))
    secrets = _filled(file)
    async with Database(f"sqlite:///{file}") as database:
        tokens = Tokens(database, utc_now, config)
        # Which rules hold for an account is found once, as long as the rules are the same.
        of_account = lru_cache(_rules().of_account)
        return 1000 * median([await _seconds(tokens, of_account, secret) for secret in secrets])


def _filled(file: Path) -> list[str]:
    """Fill the database; return the secrets of some of the tokens, from all over it."""
    add_tokens(file, _TOKENS)
    secrets = [make_secret() for _ in range(_ASKED)]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany(
            "UPDATE tokens SET digest = ?, scopes = '[\"code:write\"]' WHERE rowid = ?",
            [(digest_of(secret), 1 + n * _TOKENS // _ASKED) for n, secret in enumerate(secrets)],
        )
    return secrets


async def _seconds(
    tokens: Tokens, of_account: Callable[[str], tuple[AccessRule, ...]], secret: str
) -> float:
    begin = time.thread_time()
    operation = operation_of("POST", f"/team-{_RULES}/app.git/git-receive-pack", "")
    found = await tokens.find(secret)
    if found is None:
        raise RuntimeError("the token is not in the database that was filled")
    token, account = found
    here = IPv4Address("127.0.0.1")
    attempt = Attempt(operation, token, account, here, utc_now(), of_account(account.name))
    refusal = first_refusal(checks(attempt)) or first_refusal(ref_checks(attempt, _REF, Verb.UPDATE))
    seconds = time.thread_time() - begin
    if refusal:
        raise RuntimeError(f"it was to be permitted: {refusal.sentence}")
    return seconds


def _rules() -> AccessRules:
    refs = tuple(map(ref_rule_of, (f"{_REF}=update", "refs/heads/**=create,update,force,delete")))
    rules = tuple(
        AccessRule(
            (_ACCOUNT,),
            RepositoryPatterns([f"team-{number}/**", f"!team-{number}/secret"]),
            "code:write",
            refs,
            f"access.yaml:{number}",
        )
        for number in range(1, _RULES + 1)
    )
    return AccessRules(rules, {})
