"""Sockets, certificates, orders by signal, the service manager, and the end."""

import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support.certificate import make_certificate
from tests.support.git import Git, commit, kill, make_repository
from tests.support.proxy import PROGRAM, Proxy, free_port, wait_until
from tests.support.raw import accepts, basic
from tests.support.relay import StallingRelay

MEBIBYTE = 1024 * 1024


def change(proxy: Proxy, **config: Any) -> None:
    """Write other keys into the configuration of a proxy that serves."""
    proxy.config_file.write_text(yaml.safe_dump(proxy.config | config))


def ordered(proxy: Proxy, event: str, number: int = 1) -> dict[str, Any]:
    """Have the configuration read again; return the line that says what came of it."""
    before = len(proxy.log_lines(event))
    os.kill(proxy.pid, signal.SIGHUP)
    wait_until(lambda: len(proxy.log_lines(event)) >= before + number, what=event)
    return proxy.log_lines(event)[-1]


def stalled_clone(proxy: Proxy, git: Git, name: str = "stalled") -> Callable[[], None]:
    """Begin a clone that stops in the middle; return what ends it."""
    relay = StallingRelay(proxy.port, proxy_bytes=MEBIBYTE)
    clone = git.start("clone", f"http://127.0.0.1:{relay.port}/team/app", name)
    wait_until(relay.stalled.is_set, what="a clone in the middle")

    def end() -> None:
        kill(clone)
        relay.close()

    return end


def with_large_file(proxy: Proxy, git: Git) -> Path:
    git("clone", "--quiet", f"{proxy.url}/team/app", "work")
    work = git.home / "work"
    commit(git, work, "large.bin", os.urandom(24 * MEBIBYTE))
    git("push", "--quiet", "origin", "main", cwd=work)
    return work


# Unix sockets


def test_a_unix_socket_is_for_its_group_alone(tmp_path: Path) -> None:
    group = "nogroup" if os.getuid() == 0 else None
    path, port = tmp_path / "socket", free_port()
    proxy = Proxy(
        tmp_path / "proxy",
        port=port,
        listen=[f"127.0.0.1:{port}", f"unix:{path}"],
        socket={"mode": "660"} | ({"group": group} if group else {}),
    )
    proxy.start()
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert not group or path.group() == group
    assert proxy.stop() == 0
    assert not path.exists()


def test_a_unix_socket_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    path, port = tmp_path / "socket", free_port()
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(path))
    proxy = Proxy(tmp_path / "proxy", port=port, listen=[f"127.0.0.1:{port}", f"unix:{path}"]).start()
    other = Proxy(tmp_path / "other", listen=f"unix:{path}")
    outcome = other.cli("serve")
    assert (outcome.code, "address already in use" in outcome.text) == (1, True)
    (tmp_path / "file").write_text("precious")
    outcome = Proxy(tmp_path / "third", listen=f"unix:{tmp_path}/file").cli("serve")
    assert (outcome.code, "address already in use" in outcome.text) == (1, True)
    assert (tmp_path / "file").read_text() == "precious"
    assert proxy.stop() == 0


def test_a_successor_keeps_its_unix_socket(tmp_path: Path) -> None:
    """The old proxy has stopped listening, and ends what is under way, when the new one starts."""
    path, port = tmp_path / "socket", free_port()
    old = Proxy(tmp_path / "old", port=port, listen=[f"127.0.0.1:{port}", f"unix:{path}"]).start()
    make_repository(old.repositories / "team" / "app.git")
    git = old.git("code:write")
    with_large_file(old, git)
    end_clone = stalled_clone(old, git)
    os.kill(old.pid, signal.SIGTERM)
    wait_until(lambda: not accepts(port), what="no new connections")
    port = free_port()
    new = Proxy(tmp_path / "new", port=port, listen=[f"127.0.0.1:{port}", f"unix:{path}"]).start()
    end_clone()
    assert old.process is not None
    assert old.process.wait(30) == 0
    old.process = None
    assert path.exists()
    assert new.stop() == 0
    assert not path.exists()


# SIGHUP


@pytest.mark.parametrize("workers", [1, 2])
def test_limits_and_scopes_are_read_again(start_proxy: Callable[..., Proxy], workers: int) -> None:
    proxy = start_proxy(workers=workers)
    make_repository(proxy.repositories / "team" / "app.git")
    git = proxy.git("code:write")
    work = with_large_file(proxy, git)
    change(proxy, limits={"push_bytes": "1MiB"}, scopes={"wiki:read": "Wiki (read)"}, drain_seconds=5)
    line = ordered(proxy, "reloaded", 1 if workers == 1 else workers + 1)
    assert line["needs_restart"] == ["drain_seconds"]
    commit(git, work, "larger.bin", os.urandom(3 * MEBIBYTE // 2))
    assert "The push is larger than 1 MiB" in git.try_("push", "origin", "main", cwd=work).text


def test_a_configuration_that_is_wrong_changes_nothing(proxy: Proxy) -> None:
    git = proxy.git("code:read")
    change(proxy, limits={"operations": 0, "headers": 1}, scopes={})
    assert "limits.operations" in ordered(proxy, "not_reloaded")["reason"]
    proxy.config_file.unlink()
    assert "there is no such file" in ordered(proxy, "not_reloaded")["reason"]
    git("ls-remote", f"{proxy.url}/team/app")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_order_during_the_start_ends_nothing(tmp_path: Path, workers: int) -> None:
    proxy = Proxy(tmp_path / "proxy", workers=workers)
    starting = threading.Thread(target=proxy.start)
    starting.start()
    # From where it has its log on: Python's own start is before any handler.
    wait_until((proxy.folder / "gitpat.db").exists, what="the beginning")
    while starting.is_alive():
        os.kill(proxy.pid, signal.SIGHUP)
        starting.join(0.05)
    assert proxy.stop() == 0


# Certificates


def served_certificate(proxy: Proxy) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", proxy.port), 10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def pem_as_der(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(file.read_text())


@pytest.fixture
def two_certificates(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        make_certificate(tmp_path / name)
    return tmp_path / "first", tmp_path / "second"


def tls_in(folder: Path) -> dict[str, str]:
    return {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_certificate_is_taken_as_its_files_change(
    start_proxy: Callable[..., Proxy], two_certificates: tuple[Path, Path], workers: int
) -> None:
    first, second = two_certificates
    proxy = start_proxy(tls=tls_in(first), workers=workers)
    old, new = pem_as_der(first / "certificate.pem"), pem_as_der(second / "certificate.pem")
    assert served_certificate(proxy) == old
    shutil.copy(second / "certificate.pem", first)
    wait_until(lambda: len(proxy.log_lines("certificate_not_taken")) >= workers, what="a refusal")
    assert served_certificate(proxy) == old  # its key is not there yet
    shutil.copy(second / "key.pem", first)
    wait_until(lambda: len(proxy.log_lines("certificate_taken")) >= workers, what="the new one")
    assert served_certificate(proxy) == new


def test_a_certificate_in_another_place_is_taken_by_order(
    start_proxy: Callable[..., Proxy], two_certificates: tuple[Path, Path]
) -> None:
    first, second = two_certificates
    proxy = start_proxy(tls=tls_in(first))
    change(proxy, tls=tls_in(second) | {"key": tls_in(first)["key"]}, limits={"operations": 1})
    assert "can't be used" in ordered(proxy, "not_reloaded")["reason"]
    assert served_certificate(proxy) == pem_as_der(first / "certificate.pem")
    change(proxy, tls=tls_in(second))
    ordered(proxy, "reloaded")
    assert served_certificate(proxy) == pem_as_der(second / "certificate.pem")


def test_a_certificate_whose_key_has_a_passphrase_asks_nobody(
    tmp_path: Path, two_certificates: tuple[Path, Path]
) -> None:
    folder, _ = two_certificates
    locked = folder / "locked.pem"
    lock = ["openssl", "ec", "-aes256", "-passout", "pass:word"]
    files = ["-in", str(folder / "key.pem"), "-out", str(locked)]
    subprocess.run([*lock, *files], check=True, capture_output=True)
    outcome = Proxy(tmp_path / "proxy", tls=tls_in(folder) | {"key": str(locked)}).cli("serve")
    assert (outcome.code, "passphrase" in outcome.text, "Traceback" in outcome.text) == (1, True, False)


# The end


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_under_way_may_go_on_for_a_while(
    start_proxy: Callable[..., Proxy], workers: int
) -> None:
    """A push that hangs in a hook ends well, a clone that its client does not take is cut off."""
    proxy = start_proxy(workers=workers, drain_seconds=3)
    repository = make_repository(proxy.repositories / "team" / "app.git")
    git = proxy.git("code:write")
    work = with_large_file(proxy, git)
    go, hook = proxy.folder / "go", repository / "hooks" / "update"
    hook.write_text(f"#!/bin/sh\necho reached; until test -e {go}; do sleep 0.1; done\n")
    hook.chmod(0o755)
    end_clone = stalled_clone(proxy, git)
    push = git.start("push", "origin", "main:new", cwd=work)
    assert push.stdout
    while b"reached" not in push.stdout.readline():
        pass
    process = proxy.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: not accepts(proxy.port), what="no new connections")
    go.touch()
    push.communicate(timeout=20)
    assert push.returncode == 0
    assert process.wait(30) == 0
    proxy.process = None
    end_clone()
    cut = [line for line in proxy.log_lines() if line["code"] == "stopping"]
    assert [line["complete"] for line in cut] == [False]
    events = {(e["event"], e["details"].get("code")) for e in proxy.audit_of(4)}
    assert {("push", None), ("clone", "stopping")} <= events
    assert "refs/heads/new" in Git(proxy.home("checks"))("for-each-ref", cwd=repository)


def test_a_second_order_ends_it_at_once(start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(drain_seconds=600)
    make_repository(proxy.repositories / "team" / "app.git")
    git = proxy.git("code:write")
    with_large_file(proxy, git)
    end_clone = stalled_clone(proxy, git)
    os.kill(proxy.pid, signal.SIGINT)
    wait_until(lambda: not accepts(proxy.port), what="no new connections")
    assert proxy.stop(signal.SIGINT) == 0
    end_clone()


# systemd


@pytest.fixture
def service_manager(tmp_path: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """What systemd would set for a service, and what it is told."""
    path, told = tmp_path / "notify", []
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(0.2)
        ended = threading.Event()

        def receive() -> None:
            while not ended.is_set():
                try:
                    told.append(receiver.recv(4096).decode().split("\n")[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=receive)
        thread.start()
        yield {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}, told
        ended.set()
        thread.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_systemd_is_told_of_the_start_and_that_all_is_well(
    tmp_path: Path, service_manager: tuple[dict[str, str], list[str]], workers: int
) -> None:
    environment, told = service_manager
    proxy = Proxy(tmp_path / "proxy", workers=workers).start(environment)
    wait_until(lambda: "READY=1" in told and told.count("WATCHDOG=1") >= 2, what="word of it")
    assert proxy.stop() == 0
    assert workers > 1 or told[-1] == "STOPPING=1"


def as_systemd(proxy: Proxy, given: socket.socket) -> "subprocess.Popen[bytes]":
    """Start the proxy with an open socket: descriptor 3, and variables that name the process itself."""
    command = f'exec 3<&{given.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    with proxy.log_file.open("ab") as log:
        return subprocess.Popen(
            ["bash", "-c", command, "sh", PROGRAM, "--config", str(proxy.config_file), "serve"],
            pass_fds=[given.fileno()],
            stdout=log,
            stderr=log,
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_sockets_that_systemd_opened_are_used(tmp_path: Path, workers: int) -> None:
    proxy = Proxy(tmp_path / "proxy", listen="127.0.0.1:1", workers=workers)
    make_repository(proxy.repositories / "team" / "app.git")
    with socket.create_server(("127.0.0.1", proxy.port)) as given:
        proxy.process = as_systemd(proxy, given)
    wait_until(proxy._listens, 20, "a proxy that listens")
    proxy.git("code:read")("ls-remote", f"{proxy.url}/team/app")
    assert proxy.log_lines("listening")[0]["on"] == f"127.0.0.1:{proxy.port}"
    assert proxy.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_unix_socket_of_systemd_stays_when_the_proxy_ends(tmp_path: Path, workers: int) -> None:
    proxy, path = Proxy(tmp_path / "proxy", workers=workers), tmp_path / "socket"
    with closing(socket.socket(socket.AF_UNIX)) as given:
        given.bind(str(path))
        given.listen()
        proxy.process = as_systemd(proxy, given)
        wait_until(lambda: proxy.log_lines("listening"), 20, "a proxy that listens")
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(path))
            client.sendall(b"GET /-/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        assert proxy.stop() == 0
        assert path.exists()


def test_systemds_sockets_must_not_be_open_to_all_in_clear(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy")
    with socket.create_server(("0.0.0.0", proxy.port)) as given:
        assert as_systemd(proxy, given).wait(30) == 1
    assert "tokens would cross the network in clear" in proxy.log


# Workers


@pytest.fixture
def workers(start_proxy: Callable[..., Proxy]) -> Proxy:
    """Three processes that serve, with a repository that takes a while to clone."""
    proxy = start_proxy(workers=3, limits={"unknown_tokens": 10})
    make_repository(proxy.repositories / "team" / "app.git")
    return proxy


def worker_pids(proxy: Proxy) -> set[int]:
    return {child.pid for child in psutil.Process(proxy.pid).children()}


def busy_worker(proxy: Proxy) -> int:
    """Return the one that has a git."""
    [busy] = [pid for pid in worker_pids(proxy) if psutil.Process(pid).children()]
    return busy


def test_the_token_is_good_or_not_in_every_worker(workers: Proxy) -> None:
    git = workers.git("code:read")
    for _ in range(12):
        git("ls-remote", f"{workers.url}/team/app")
    [token] = json.loads(workers.ok("token", "list", "--json"))
    workers.ok("token", "revoke", token["id"])
    for _ in range(12):
        assert "was revoked" in git.try_("ls-remote", f"{workers.url}/team/app").text


def test_revocation_cuts_what_runs_in_any_worker(workers: Proxy) -> None:
    writer = workers.git("code:write", home="writer")
    with_large_file(workers, writer)
    secret, token = workers.make_token("code:read")
    git = Git(workers.home(), secret)
    ends = [stalled_clone(workers, git, f"stalled-{number}") for number in range(8)]
    workers.ok("token", "revoke", token.id)
    wait_until(
        lambda: [line["code"] for line in workers.log_lines()].count("token_revoked") == 8,
        5,
        "the end of all clones",
    )
    for end in ends:
        end()
    assert workers.ok("audit", "verify")


def test_guesses_are_counted_in_all_workers_together(workers: Proxy) -> None:
    def status(secret: str) -> int:
        return workers.get(
            "/team/app/info/refs?service=git-upload-pack", {"Authorization": basic(secret)}
        )[0]

    assert [status(f"guess-{number}") for number in range(10)] == [401] * 10
    assert [status(f"guess-{number}") for number in range(10, 22)] == [429] * 12
    assert status(workers.make_token("code:read")[0]) == 200


def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(workers: Proxy) -> None:
    git = workers.git("code:write")
    work = with_large_file(workers, git)
    go = workers.folder / "go"
    hook = workers.repositories / "team" / "app.git" / "hooks" / "update"
    hook.write_text(f"#!/bin/sh\necho reached; until test -e {go}; do sleep 0.1; done\n")
    hook.chmod(0o755)
    push = git.start("push", "origin", "main:new", cwd=work)
    assert push.stdout
    while b"reached" not in push.stdout.readline():
        pass
    before = worker_pids(workers)
    busy = busy_worker(workers)
    for pid in before - {busy}:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(worker_pids(workers) - before) == 2, what="new workers")
    assert busy in worker_pids(workers)
    go.touch()
    push.communicate(timeout=20)
    assert push.returncode == 0
    for _ in range(6):
        git("ls-remote", f"{workers.url}/team/app")


def test_the_places_of_a_killed_worker_become_free(start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(workers=2, limits={"operations": 1, "waiting_seconds": 5, "spool_bytes": 1024})
    make_repository(proxy.repositories / "team" / "app.git")
    git = proxy.git("code:write")
    with_large_file(proxy, git)
    end_clone = stalled_clone(proxy, git)
    os.kill(busy_worker(proxy), signal.SIGKILL)
    git("ls-remote", f"{proxy.url}/team/app")
    end_clone()


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy", workers=2).start()
    assert proxy.process is not None
    pids = worker_pids(proxy)
    proxy.stop(signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="their end")
    assert not accepts(proxy.port)
