"""The proxy killed at random moments: what was acknowledged is there, and nothing is half there."""

import http.client
import json
import logging
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from gitpat_proxy.services.audit import verify
from tests.support.git import Git, commit, make_repository
from tests.support.proxy import PROGRAM, Proxy, wait_until
from tests.support.raw import basic
from tests.support.secrets_seen import SEEN

CRASHES = int(os.environ.get("GITPAT_CRASHES", "10"))
MOST_ACKNOWLEDGED = 15
"""So many refs and new tokens are acknowledged before a kill, at most; and some time goes by."""
MOST_SECONDS = 0.2
REPOSITORIES = ("team/app", "team/lib")
LARGE = "team/large"
PUSHERS = (*REPOSITORIES, REPOSITORIES[0])
ZEROS = "0" * 40

_log = logging.getLogger(__name__)


class KilledError(Exception):
    """What was asked got no answer, as the proxy was killed."""


@dataclass
class Value:
    """What something is, as far as it was acknowledged, and what it may have become instead."""

    acknowledged: Any = None
    asked: Any = None

    def agree(self) -> None:
        self.acknowledged = self.asked

    def found(self, actual: Any, what: str) -> None:
        """Take over what it turned out to be."""
        assert actual in (self.acknowledged, self.asked), (what, actual, self)
        self.acknowledged = self.asked = actual


@dataclass
class Round:
    """The time until one kill."""

    killing: threading.Event = field(default_factory=threading.Event)

    def may_fail(self, text: str) -> None:
        """Fail the test, unless the proxy is being killed."""
        assert self.killing.is_set(), text


class Pusher:
    """Somebody who pushes to branches of their own: new ones, one that moves, and away with old ones."""

    def __init__(self, proxy: Proxy, number: int, repository: str, dice: random.Random) -> None:
        self.repository = repository
        self.git = proxy.git("code:write", home=f"pusher-{number}")
        self.git("clone", "--quiet", f"{proxy.url}/{repository}", "work")
        self.work = self.git.home / "work"
        self.refs: dict[str, Value] = {}
        self.acknowledged: list[tuple[str, str, str]] = []
        self.tried = 0
        self._name = f"refs/heads/pusher-{number}"
        self._dice = dice

    def push(self, current: Round) -> None:
        self.tried += 1
        size = self._dice.choice([10, 1_000, 300_000])
        new = commit(self.git, self.work, "file.bin", self._dice.randbytes(size))
        updates: dict[str, str | None] = {f"{self._name}/moves": new}
        updates |= {f"{self._name}/{self.tried}-{n}": new for n in range(self._dice.randrange(3))}
        old = [name for name, value in self.refs.items() if value.acknowledged and "moves" not in name]
        updates |= dict.fromkeys(old[:1] if self.tried % 3 == 0 else [], None)
        for name, value in updates.items():
            self.refs.setdefault(name, Value()).asked = value
        refspecs = [f"{value or ''}:{name}" for name, value in updates.items()]
        outcome = self.git.try_("push", "--quiet", "origin", *refspecs, cwd=self.work)
        if not outcome.ok:
            current.may_fail(outcome.text)
            raise KilledError
        for name, value in updates.items():
            self.refs[name].agree()
            self.acknowledged.append((self.repository, name, value or ZEROS))


@dataclass
class Token:
    """What is known of one that somebody was told of."""

    id: str
    secret: str
    name: Value
    revoked: Value = field(default_factory=lambda: Value(acknowledged=False, asked=False))


class ApiWriter:
    """A program that makes, renames and revokes tokens over the API."""

    def __init__(self, proxy: Proxy, dice: random.Random) -> None:
        self.maker, _ = proxy.make_token("tokens:write", "code:write")
        self.tokens: list[Token] = []
        self._proxy = proxy
        self._dice = dice

    def write(self, current: Round) -> None:
        living = [token for token in self.tokens if not token.revoked.asked]
        if len(living) < 3:
            self._create(current)
            return
        token = self._dice.choice(living)
        if self._dice.random() < 0.5:
            token.name.asked = f"Name {self._dice.randrange(1_000_000)}"
            self._ask(current, "PATCH", f"/{token.id}", {"name": token.name.asked})
            token.name.agree()
        else:
            token.revoked.asked = True
            self._ask(current, "DELETE", f"/{token.id}")
            token.revoked.agree()

    def _create(self, current: Round) -> None:
        facts = {"name": "New", "scopes": ["code:read"], "expires": "1d"}
        made = self._ask(current, "POST", "", facts)
        SEEN.secrets.add(made["token"])
        self.tokens.append(Token(made["id"], made["token"], Value("New", "New")))

    def _ask(self, current: Round, method: str, path: str, body: Any = None) -> Any:
        status, text = asked(
            f"{self._proxy.url}/-/api/v1/tokens{path}", self.maker, current, method, body
        )
        assert status in {200, 201}, text
        return json.loads(text)


class CliWriter:
    """Somebody who makes and revokes tokens at the command line."""

    def __init__(self, proxy: Proxy) -> None:
        proxy.make_account("bob")
        self.tokens: list[Token] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._proxy = proxy

    def write(self, current: Round) -> None:
        living = [token for token in self.tokens if not token.revoked.asked]
        if len(living) < 2:
            facts = ("--account", "bob", "--name", "New", "--scope", "code:read", "--json")
            made = json.loads(self._run(current, "token", "create", *facts))
            SEEN.secrets.add(made["token"])
            self.tokens.append(Token(made["id"], made["token"], Value("New", "New")))
        else:
            living[0].revoked.asked = True
            self._run(current, "token", "revoke", living[0].id)
            living[0].revoked.agree()
        # The others need the processor, too.
        current.killing.wait(0.3)

    def _run(self, current: Round, *arguments: str) -> bytes:
        command = [PROGRAM, "--config", str(self._proxy.config_file), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = self.process.communicate(timeout=120)
        if self.process.returncode:
            current.may_fail(errors.decode())
            raise KilledError
        return output


class Reader:
    """Somebody who is refused again and again, each of which is in the audit."""

    def __init__(self, proxy: Proxy) -> None:
        self.secret, _ = proxy.make_token("code:read")
        self.asked = self.answered = 0
        self._address = f"{proxy.url}/team/none/info/refs?service=git-upload-pack"

    def read(self, current: Round) -> None:
        self.asked += 1
        status, _ = asked(self._address, self.secret, current)
        assert status == 404
        self.answered += 1
        time.sleep(0.01)


class Cloner:
    """Somebody who clones what memory does not hold: it lies in the spool when the proxy is killed."""

    def __init__(self, proxy: Proxy) -> None:
        self.git = proxy.git("code:read", home="cloner")
        self.tried = 0
        self._url = f"{proxy.url}/{LARGE}"
        self._repository = make_repository(proxy.repositories / f"{LARGE}.git")
        work = self.git.home / "work"
        self.git("clone", "--quiet", str(self._repository), str(work))
        commit(self.git, work, "large.bin", os.urandom(3_000_000))
        self.git("push", "--quiet", "origin", "main", cwd=work)
        self._refs = self.git("for-each-ref", cwd=self._repository)

    def clone(self, current: Round) -> None:
        self.tried += 1
        clone = self.git.home / f"clone-{self.tried}"
        outcome = self.git.try_("clone", "--quiet", "--bare", self._url, str(clone))
        if not outcome.ok:
            current.may_fail(outcome.text)
            raise KilledError
        self.git("fsck", cwd=clone)
        assert self.git("for-each-ref", cwd=clone) == self._refs
        shutil.rmtree(clone)


def asked(
    url: str, secret: str, current: Round, method: str = "GET", body: Any = None
) -> tuple[int, str]:
    headers = {"Authorization": basic(secret), "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (OSError, http.client.HTTPException) as error:
        current.may_fail(repr(error))
        raise KilledError from error


class Load:
    """All of them at once."""

    def __init__(self, proxy: Proxy, dice: random.Random) -> None:
        self.proxy = proxy
        self.pushers = [Pusher(proxy, n, repository, dice) for n, repository in enumerate(PUSHERS)]
        self.api, self.cli, self.reader = ApiWriter(proxy, dice), CliWriter(proxy), Reader(proxy)
        self.cloner = Cloner(proxy)

    @property
    def tokens(self) -> list[Token]:
        return [*self.api.tokens, *self.cli.tokens]

    @property
    def acknowledged(self) -> int:
        return sum(len(pusher.acknowledged) for pusher in self.pushers) + len(self.tokens)

    def run_until_killed(self, dice: random.Random, kill: Callable[["Load"], None]) -> None:
        current, enough = Round(), self.acknowledged + dice.randint(1, MOST_ACKNOWLEDGED)
        steps = [*(p.push for p in self.pushers), self.api.write, self.cli.write, self.reader.read]
        steps.append(self.cloner.clone)
        with ThreadPoolExecutor(len(steps)) as pool:
            running = [pool.submit(_repeat, step, current) for step in steps]
            try:
                wait_until(lambda: self.acknowledged >= enough, 60, "pushes and tokens")
                time.sleep(dice.uniform(0, MOST_SECONDS))
            finally:
                current.killing.set()
                kill(self)
        for one in running:
            one.result()


def _repeat(step: Callable[[Round], None], current: Round) -> None:
    with suppress(KilledError):
        while not current.killing.is_set():
            step(current)


# Kills


def kill_the_proxy_alone(load: Load) -> None:
    """What git has begun goes on, and a worker looks after itself."""
    below = load.proxy.children()
    load.proxy.stop(signal.SIGKILL)
    psutil.wait_procs(below, 60)
    wait_until(lambda: not load.proxy.children(), 30, "the end of every git")


def kill_everything(load: Load) -> None:
    """As a container or a service is killed; here also somebody's command line."""
    if load.cli.process:
        load.cli.process.kill()
    end_everything(load.proxy)


def end_everything(proxy: Proxy) -> None:
    below = proxy.children()
    proxy.stop(signal.SIGKILL)
    while below:
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, 10)
        # What was begun meanwhile.
        below = proxy.children()


def kill_a_worker(load: Load) -> None:
    """Another one takes its place; then all end in order."""
    before = set(left_files(load.proxy))
    psutil.Process(load.proxy.pid).children()[0].kill()
    wait_until(lambda: len(before.intersection(left_files(load.proxy))) == 1, 30, "another worker")
    load.proxy.stop()


KILLS = {
    1: [kill_the_proxy_alone, kill_everything],
    2: [kill_the_proxy_alone, kill_everything, kill_a_worker],
}


def left_files(proxy: Proxy) -> list[Path]:
    return list(proxy.folder.glob("gitpat.db-unwritten-*"))


def remove_locks(proxy: Proxy) -> int:
    """git that is killed leaves them, and says at the next push to remove them."""
    locks = list(proxy.repositories.rglob("*.lock"))
    for lock in locks:
        lock.unlink()
    return len(locks)


# What must be so after each


def assert_repositories(proxy: Proxy, pushers: list[Pusher]) -> None:
    git = Git(proxy.home("checks"))
    for name in REPOSITORIES:
        repository = proxy.repositories / f"{name}.git"
        git("fsck", "--strict", cwd=repository)
        lines = git("for-each-ref", "--format=%(refname) %(objectname)", cwd=repository).splitlines()
        refs = dict(line.split() for line in lines)
        refs.pop("refs/heads/main")
        for pusher in pushers:
            if pusher.repository == name:
                for ref, value in pusher.refs.items():
                    value.found(refs.pop(ref, None), ref)
        assert not refs, "nobody ever pushed these"


def assert_tokens(proxy: Proxy, tokens: list[Token]) -> int:
    """Try each; return how many were refused."""
    refused = 0
    for token in tokens:
        status, text = asked(f"{proxy.url}/-/api/v1/self", token.secret, Round())
        token.revoked.found(status == 401, token.id)
        refused += status == 401
        if status == 401:
            assert "revoked" in text
        else:
            token.name.found(json.loads(text)["name"], token.id)
    return refused


def rows(proxy: Proxy, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(proxy.folder / "gitpat.db")) as connection:
        return connection.execute(query, values).fetchall()


def assert_database(proxy: Proxy) -> None:
    """What one transaction wrote is all there or not at all, also what was never acknowledged."""
    assert rows(proxy, "PRAGMA integrity_check") == [("ok",)]
    assert rows(proxy, "PRAGMA foreign_key_check") == []
    state = "SELECT id, name, revoked_at IS NOT NULL FROM tokens ORDER BY id"
    told: dict[str, list[Any]] = {}
    for event, token, text in rows(
        proxy, "SELECT event, token, details FROM audit WHERE event LIKE 'token_%' ORDER BY id"
    ):
        details = json.loads(text)
        if event == "token_created":
            assert token not in told
            told[token] = [details["name"], 0]
        elif event == "token_edited":
            before, told[token][0] = details["changes"]["name"]
            assert before != told[token][0]
        else:
            told[token][1] += 1
    assert [(token, *facts) for token, facts in sorted(told.items())] == rows(proxy, state)
    assert proxy.services(lambda services: verify(services.database)).broken is None


def pushed(proxy: Proxy) -> set[tuple[str, str, str]]:
    return {
        (repository, update["ref"], update["new"])
        for repository, text in rows(proxy, "SELECT repository, details FROM audit WHERE event = 'push'")
        for update in json.loads(text)["updates"]
        if update["outcome"] == "ok"
    }


def told_lost(proxy: Proxy) -> int:
    events = rows(proxy, "SELECT details FROM audit WHERE event = 'events_lost'")
    return sum(json.loads(text)["events"] for (text,) in events)


def logged_lost(proxy: Proxy) -> int:
    """A kill may leave half a line, so they are not read as JSON."""
    numbers = re.findall(r'"events": (\d+)[^{}]*"event": "audit_events_lost"', proxy.log)
    return sum(map(int, numbers))


def assert_events(proxy: Proxy, load: Load, refused: int) -> None:
    """Each event of a request that was answered is there, or counted as lost; none is counted twice."""
    read = rows(proxy, "SELECT count(*) FROM audit WHERE repository = 'team/none'")[0][0]
    others = rows(proxy, "SELECT count(*) FROM audit WHERE event = 'refused'")[0][0] - read
    done = rows(proxy, "SELECT count(*) FROM audit WHERE event IN ('push', 'clone')")[0][0]
    lost = told_lost(proxy)
    # Each who pushes has cloned before.
    tried = load.cloner.tried + sum(1 + pusher.tried for pusher in load.pushers)
    assert load.reader.answered + refused <= read + others + lost
    assert lost <= load.reader.asked - read + refused - others + tried - done
    assert logged_lost(proxy) == lost


@pytest.mark.alone  # Between two kills there is little time, in which something must be done.
@pytest.mark.parametrize("workers", [1, 2])
def test_the_proxy_killed_at_random_moments(
    start_proxy: Callable[..., Proxy], tmp_path: Path, workers: int
) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    dice = random.Random(seed)
    _log.info("seed %s", seed)
    limits = {"unknown_tokens": 100_000}
    spool = tmp_path / "spool"
    spool.mkdir()
    proxy = start_proxy(workers=workers, drain_seconds=1, limits=limits, spool=str(spool))
    for name in REPOSITORIES:
        make_repository(proxy.repositories / f"{name}.git")
    load, seen, refused = Load(proxy, dice), Counter[str](), 0
    for number in range(CRASHES // 2):
        kill = KILLS[workers][number % len(KILLS[workers])]
        load.run_until_killed(dice, kill)
        assert not any(spool.iterdir())
        seen["lock files"] += remove_locks(proxy)
        unanswered = [v for p in load.pushers for v in p.refs.values() if v.asked != v.acknowledged]
        unanswered += [v for t in load.tokens for v in (t.name, t.revoked) if v.asked != v.acknowledged]
        expected = [value.asked for value in unanswered]
        proxy.start()
        wait_until(lambda: len(left_files(proxy)) == workers, what="what was lost")
        assert_database(proxy)
        assert_repositories(proxy, load.pushers)
        refused += assert_tokens(proxy, [t for t in load.tokens if not t.revoked.acknowledged])
        assert pushed(proxy).issuperset(a for p in load.pushers for a in p.acknowledged)
        seen["unanswered"] += len(unanswered)
        done = [v.acknowledged == e for v, e in zip(unanswered, expected, strict=True)]
        seen["unanswered, but done"] += sum(done)
    refused += assert_tokens(proxy, load.tokens)
    assert proxy.stop() == 0
    assert left_files(proxy) == []
    assert_events(proxy, load, refused)
    seen["pushes tried"] = sum(pusher.tried for pusher in load.pushers)
    seen["refs acknowledged"] = sum(len(pusher.acknowledged) for pusher in load.pushers)
    seen["tokens"], seen["read"] = len(load.tokens), load.reader.answered
    seen["lost"] = told_lost(proxy)
    _log.info("%s", dict(seen))
    assert seen["refs acknowledged"]
    assert load.tokens


def test_a_push_is_in_the_audit_when_it_is_acknowledged(proxy: Proxy) -> None:
    """Not only after up to a second, as the rest."""
    pusher = Pusher(proxy, 0, "team/app", random.Random(1))
    for _ in range(5):
        pusher.push(Round())
        assert pushed(proxy).issuperset(pusher.acknowledged)
    proxy.stop(signal.SIGKILL)
    assert pushed(proxy).issuperset(pusher.acknowledged)


def test_how_many_events_a_kill_has_lost_is_told(start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(workers=2)
    reader = Reader(proxy)
    with closing(sqlite3.connect(proxy.folder / "gitpat.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(20):
            reader.read(Round())
        end_everything(proxy)
        other.execute("ROLLBACK")
    proxy.start()
    wait_until(lambda: len(left_files(proxy)) == 2, what="what was lost")
    assert "events_lost" in proxy.ok("audit")
    assert told_lost(proxy) == 20
    assert logged_lost(proxy) == 20
    assert proxy.stop() == 0
    assert left_files(proxy) == []
