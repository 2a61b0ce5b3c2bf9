"""Backups that are made while the proxy serves and tokens are made; each is restored and tried."""

import json
import os
import shutil
import signal
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitpat_proxy.access.model import Author
from gitpat_proxy.access.secret import digest_of
from tests.support.git import Git, make_repository
from tests.support.proxy import Proxy
from tests.support.secrets_seen import SEEN

BACKUPS = int(os.environ.get("GITPAT_BACKUPS", "2"))
PAUSE_SECONDS = 1.0
"""Between two backups."""


@dataclass
class Acknowledged:
    """The secrets of which somebody was told that they work, and that they are revoked."""

    living: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def copy(self) -> "Acknowledged":
        with self.lock:
            return Acknowledged(set(self.living), set(self.revoked))


@dataclass(frozen=True)
class Made:
    """A backup, and what had been acknowledged before it began."""

    file: Path
    facts: dict[str, Any]
    before: Acknowledged


class Load:
    """Clones, tokens made by the proxy, and tokens made and revoked by another process."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.known = Acknowledged()
        self.stop = threading.Event()
        self.clones = 0
        self.maker, _ = proxy.make_token("tokens:write", "code:write")
        self.readers = [proxy.git("code:read", home=f"reader-{number}") for number in range(3)]

    def clone(self, git: Git) -> None:
        number = 0
        while not self.stop.is_set():
            git("clone", "--quiet", "--bare", f"{self.proxy.url}/team/app", f"clone-{number}")
            number += 1
        with self.known.lock:
            self.clones += number

    def make_by_api(self) -> None:
        while not self.stop.wait(0.02):
            secret = self._asked()
            SEEN.secrets.add(secret)
            with self.known.lock:
                self.known.living.add(secret)

    def _asked(self) -> str:
        facts = {"name": "By the API", "scopes": ["code:read"], "expires": "1d"}
        headers = {"Authorization": f"Bearer {self.maker}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.proxy.url}/-/api/v1/tokens", json.dumps(facts).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["token"])

    def make_and_revoke(self) -> None:
        """Every other one stays."""
        revoke = False
        while not self.stop.wait(0.05):
            secret, token = self.proxy.make_token("code:read", account="bob")
            if revoke:
                self._revoke(token.id)
            with self.known.lock:
                (self.known.revoked if revoke else self.known.living).add(secret)
            revoke = not revoke

    def _revoke(self, token_id: str) -> None:
        self.proxy.services(lambda s: s.tokens.revoke([token_id], "lost", by=Author("test")))


def make_backups(load: Load, folder: Path) -> list[Made]:
    made = []
    for number in range(BACKUPS):
        time.sleep(PAUSE_SECONDS)
        before = load.known.copy()
        file = folder / f"backup-{number}.db"
        facts = json.loads(load.proxy.ok("database", "backup", str(file), "--json"))
        made.append(Made(file, facts, before))
    return made


def under_load(load: Load, folder: Path) -> list[Made]:
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(load.clone, git) for git in load.readers]
        work += [pool.submit(load.make_by_api) for _ in range(2)]
        work += [pool.submit(load.make_and_revoke) for _ in range(2)]
        try:
            made = make_backups(load, folder)
        finally:
            load.stop.set()
        for one in work:
            one.result()
    return made


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as connection:
        return connection.execute(query).fetchall()


def assert_whole(backup: Made) -> None:
    """What one transaction wrote is all there or not at all."""
    file = backup.file
    assert rows(file, "PRAGMA integrity_check") == [("ok",)]
    assert rows(file, "PRAGMA foreign_key_check") == []
    tokens = dict(rows(file, "SELECT id, revoked_at IS NOT NULL FROM tokens"))
    created = [token for (token,) in rows(file, "SELECT token FROM audit WHERE event = 'token_created'")]
    revoked = [token for (token,) in rows(file, "SELECT token FROM audit WHERE event = 'token_revoked'")]
    assert sorted(created) == sorted(tokens)
    assert sorted(revoked) == sorted(token for token, is_revoked in tokens.items() if is_revoked)
    assert backup.facts["tokens"] == len(tokens)
    assert backup.facts["events"] == rows(file, "SELECT count(*) FROM audit")[0][0]
    digests = {digest for (digest,) in rows(file, "SELECT digest FROM tokens")}
    assert digests >= {digest_of(secret) for secret in backup.before.living | backup.before.revoked}


def restore(proxy: Proxy, file: Path) -> None:
    """Do what docs/operating.md says, on an installation that was killed: its log is still there."""
    proxy.get("/-/ready")  # a connection that stays open, and its log with it
    proxy.make_token()
    proxy.stop(signal.SIGKILL)
    assert (proxy.folder / "gitpat.db-wal").stat().st_size
    aside = proxy.folder / "before-restore"
    aside.mkdir()
    for old in proxy.folder.glob("gitpat.db*"):
        old.rename(aside / old.name)
    shutil.copy(file, proxy.folder / "gitpat.db")
    assert "FAIL" not in proxy.ok("check")
    assert "database: sqlite:///" in proxy.ok("check")
    proxy.start()


def assert_restored(proxy: Proxy, backup: Made, everything: Acknowledged) -> None:
    """Try every secret with git: those of before work, the others work or are unknown."""
    url = f"{proxy.url}/team/app"
    kept = {digest for (digest,) in rows(backup.file, "SELECT digest FROM tokens")}

    def outcome(numbered: tuple[int, str]) -> tuple[str, bool, str]:
        number, secret = numbered
        answer = Git(proxy.home(f"person-{number}"), secret).try_("ls-remote", url)
        return secret, answer.ok, answer.text

    secrets = sorted(everything.living | everything.revoked)
    with ThreadPoolExecutor(4) as pool:
        for secret, works, text in pool.map(outcome, enumerate(secrets)):
            if secret in backup.before.living:
                assert works, text
            elif secret in backup.before.revoked:
                assert "was revoked on" in text
            elif digest_of(secret) not in kept:
                assert "not a valid personal access token" in text
            elif secret in everything.living:
                assert works, text
            else:
                # Made before the backup, and revoked before it or later.
                assert works or "was revoked on" in text


def test_each_backup_that_is_made_under_load_can_be_restored(
    start_proxy: Callable[..., Proxy], tmp_path: Path
) -> None:
    first = start_proxy()
    make_repository(first.repositories / "team" / "app.git", commits=20)
    first.make_account("bob")
    load = Load(first)
    (tmp_path / "backups").mkdir()
    SEEN.folders.add(tmp_path / "backups")
    backups = under_load(load, tmp_path / "backups")
    everything = load.known.copy()
    names = [path.name for path in (tmp_path / "backups").iterdir()]
    assert sorted(names) == [f"backup-{number}.db" for number in range(BACKUPS)]
    # Something happened before each, between any two, and after the last.
    sizes = [len(one.living | one.revoked) for one in (*(b.before for b in backups), everything)]
    assert sizes[0] > 0
    assert sizes == sorted(set(sizes)), sizes
    assert load.clones > BACKUPS
    assert not [line for line in first.log_lines() if (line["status"] or 0) >= 500]
    for number, backup in enumerate(backups):
        assert_whole(backup)
        second = start_proxy(
            f"restored-{number}",
            routes=[{"path": "/", "repositories": str(first.repositories)}],
            limits={"unknown_tokens": 100_000},
        )
        restore(second, backup.file)
        assert_restored(second, backup, everything)
        assert second.stop() == 0
