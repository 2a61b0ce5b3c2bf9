"""What the person who runs it meets: start, stop, health, addresses, log, broken databases."""

import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import faults
from tests.support.git import Git, make_repository
from tests.support.proxy import Proxy, free_port, wait_until
from tests.support.raw import basic, connect

ADVERTISEMENT = "/team/app/info/refs?service=git-upload-pack"


def test_health_and_readiness(proxy: Proxy) -> None:
    assert proxy.get("/-/health") == (200, "alive\n")
    assert proxy.get("/-/ready") == (200, "ready\n")
    (proxy.folder / "gitpat.db").rename(proxy.folder / "elsewhere.db")
    for leftover in proxy.folder.glob("gitpat.db-*"):
        leftover.unlink()
    assert proxy.get("/-/ready")[0] == 503
    assert proxy.get("/-/health")[0] == 200


def test_a_database_that_fails_is_no_way_in(proxy: Proxy) -> None:
    secret, _ = proxy.make_token("code:read")
    with closing(sqlite3.connect(proxy.folder / "gitpat.db")) as database:
        database.execute("ALTER TABLE tokens RENAME TO gone")
    status, text = proxy.get(ADVERTISEMENT, {"Authorization": basic(secret)})
    assert status == 503
    assert text.startswith("This proxy can't look up tokens at the moment; tell those who run it.")
    [line] = proxy.log_lines("database_failed")
    assert "no such table" in line["reason"]


def test_each_request_has_one_structured_line(proxy: Proxy) -> None:
    git = proxy.git("code:write")
    git("ls-remote", f"{proxy.url}/team/app.git")
    lines = [line for line in proxy.log_lines() if line["token"]]
    assert len(lines) == 2
    assert set(lines[0]) == {
        "time",
        "level",
        "event",
        "request",
        "address",
        "method",
        "account",
        "token",
        "repository",
        "service",
        "kind",
        "protocol",
        "status",
        "code",
        "reason",
        "complete",
        "bytes_in",
        "bytes_out",
        "seconds",
    }
    assert lines[1]["account"] == "alice"
    assert lines[1]["address"] == "127.0.0.1"
    assert lines[1]["repository"] == "team/app"
    assert lines[1]["service"] == "git-upload-pack"
    assert lines[1]["protocol"] == 2
    assert lines[1]["bytes_in"] > 0
    assert lines[1]["bytes_out"] > 0


def test_an_order_to_stop_is_followed(proxy: Proxy) -> None:
    assert proxy.stop() == 0
    assert proxy.log_lines("stopping")


@pytest.mark.parametrize(
    ("trusted", "address"),
    [([], "127.0.0.1"), (["127.0.0.0/8"], "192.0.2.7")],
    ids=["nobody trusted", "the proxy in front trusted"],
)
def test_forwarded_addresses_are_believed_from_trusted_proxies_alone(
    start_proxy: Callable[..., Proxy], trusted: list[str], address: str
) -> None:
    proxy = start_proxy(trusted_proxies=trusted)
    proxy.get(ADVERTISEMENT, {"X-Forwarded-For": "10.9.9.9, 192.0.2.7, 127.0.0.3"})
    assert proxy.log_lines()[-1]["address"] == address


def test_who_leaves_at_once_is_not_taken_for_this_machines_own_proxy(proxy: Proxy) -> None:
    """What it says of its address would be believed, and what a token is limited to with it."""
    head = f"GET {ADVERTISEMENT} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n".encode()
    for _ in range(50):
        with connect(proxy.port) as connection:
            connection.sendall(head)
    wait_until(lambda: len(proxy.log_lines()) >= 45, what="requests in the log")
    assert {line["address"] for line in proxy.log_lines()} == {"127.0.0.1"}


def test_a_unix_socket(tmp_path: Path) -> None:
    path, port = tmp_path / "socket", free_port()
    proxy = Proxy(tmp_path / "proxy", port=port, listen=[f"127.0.0.1:{port}", f"unix:{path}"])
    proxy.start()
    try:
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.connect(str(path))
            connection.sendall(
                f"GET {ADVERTISEMENT} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
        assert proxy.log_lines()[-1]["address"] == "192.0.2.7"
    finally:
        proxy.stop()


def test_a_start_that_can_not_be(proxy: Proxy, tmp_path: Path) -> None:
    """Each ends with one line that says what to do, and no traceback."""
    taken = Proxy(tmp_path / "taken", listen=f"127.0.0.1:{proxy.port}")
    exposed = Proxy(tmp_path / "exposed", listen="0.0.0.0:8418")
    old = _with_revision(tmp_path / "old", "0000")
    new = _with_revision(tmp_path / "new", "9999")
    for broken, sentence in [
        (taken, "address already in use"),
        (exposed, "tokens would cross the network in clear"),
        (old, "is of an older version"),
        (new, "is of a newer version"),
    ]:
        outcome = broken.cli("serve")
        assert outcome.code == 1
        assert sentence in outcome.text
        assert "Traceback" not in outcome.text


def test_what_modes_forbid_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As to a service whose files root has made."""
    faults.obey_modes(monkeypatch, tmp_path)
    proxy = Proxy(tmp_path / "proxy", listen="unix:closed/socket")
    closed = proxy.folder / "closed"
    closed.mkdir(0o500)
    why = f"can't listen there: this user may not make a file in {closed}; `listen` names where"
    assert f"FAIL  listen unix:{closed}/socket: {why}\n" in proxy.cli("check").text
    proxy.config_file.chmod(0)
    why = "can't be read: Permission denied; the user who runs gitpat-proxy has to be able to"
    for command in (["serve"], ["account", "list"]):
        assert proxy.cli(*command).text == f"gitpat-proxy: {proxy.config_file}: {why}\n"


def _with_revision(folder: Path, revision: str) -> Proxy:
    proxy = Proxy(folder)
    proxy.ok("database", "upgrade")
    with closing(sqlite3.connect(folder / "gitpat.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.commit()
    return proxy


def test_a_database_is_made_only_by_order(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "empty")
    outcome = proxy.cli("account", "add", "alice")
    assert outcome.code == 1
    assert "`gitpat-proxy database upgrade` makes it" in outcome.text
    proxy.ok("database", "upgrade")
    proxy.ok("account", "add", "alice")


def test_several_routes_the_longest_prefix_wins(
    start_proxy: Callable[..., Proxy], tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    proxy = start_proxy(
        routes=[
            {"path": "/", "repositories": "repositories"},
            {"path": "/other", "repositories": str(tmp_path / "second")},
        ]
    )
    make_repository(proxy.repositories / "app.git", commits=1)
    make_repository(proxy.repositories / "other" / "app.git", commits=1)
    second = make_repository(tmp_path / "second" / "app.git", commits=2)
    git = proxy.git("code:read")
    head = Git(proxy.home("checks"))("rev-parse", "main", cwd=second).strip()
    assert head in git("ls-remote", f"{proxy.url}/other/app")
    assert head not in git("ls-remote", f"{proxy.url}/app")
    assert "There is no repository other" in git.try_("ls-remote", f"{proxy.url}/other").text
