"""What accounts may do, while the proxy serves and the rules change."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.git import make_repository
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import basic

ADVERTISEMENT = "/team/app/info/refs?service=git-upload-pack"
READS = {"repositories": ["team/**"], "allow": "code:read"}
ALICE = yaml.safe_dump({"access": [{"who": ["alice"]} | READS]})
BOB = yaml.safe_dump({"access": [{"who": ["bob"]} | READS]})


@pytest.fixture
def start_with_file(tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Start a proxy with a file of rules, by which alice reads; it ends with the test."""
    started: list[Proxy] = []

    def start(**config: object) -> Proxy:
        proxy = Proxy(tmp_path / "proxy", access_file="access.yaml", **config)
        (proxy.folder / "access.yaml").write_text(ALICE)
        make_repository(proxy.repositories / "team" / "app.git")
        started.append(proxy)
        return proxy.start()

    yield start
    for proxy in started:
        proxy.stop()


def statuses(proxy: Proxy, secret: str) -> set[int]:
    """Return what comes of several requests, which more than one worker answers."""
    return {proxy.get(ADVERTISEMENT, {"Authorization": basic(secret)})[0] for _ in range(12)}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_changed_file_holds_in_all_workers(
    start_with_file: Callable[..., Proxy], workers: int
) -> None:
    proxy = start_with_file(workers=workers)
    alice = proxy.make_token("code:read")[0]
    bob = proxy.make_token("code:read", account="bob")[0]
    assert (statuses(proxy, alice), statuses(proxy, bob)) == ({200}, {404})
    (proxy.folder / "access.yaml").write_text(BOB)
    wait_until(lambda: len(proxy.log_lines("access_taken")) >= workers, what="the new rules")
    assert (statuses(proxy, alice), statuses(proxy, bob)) == ({404}, {200})


def test_a_broken_file_is_told_and_the_old_rules_hold(start_with_file: Callable[..., Proxy]) -> None:
    proxy = start_with_file()
    alice = proxy.make_token("code:read")[0]
    (proxy.folder / "access.yaml").write_text("access: [")
    wait_until(lambda: proxy.log_lines("access_not_taken"), what="the mistake in the log")
    status, text = proxy.get("/-/ready")
    assert status == 200
    assert text.startswith("ready\nThe access file can't be used, and the rules from before hold")
    assert statuses(proxy, alice) == {200}
    (proxy.folder / "access.yaml").write_text(BOB)
    wait_until(lambda: proxy.get("/-/ready") == (200, "ready\n"), what="the end of the mistake")
    assert statuses(proxy, alice) == {404}
    assert len(proxy.log_lines("access_not_taken")) == 1


def test_a_new_worker_has_the_rules_of_the_others_though_the_file_is_broken(
    start_with_file: Callable[..., Proxy],
) -> None:
    proxy = start_with_file(workers=2)
    alice = proxy.make_token("code:read")[0]
    file = proxy.folder / "access.yaml"
    file.write_text(BOB)
    # Both workers, and the one that starts others.
    wait_until(lambda: len(proxy.log_lines("access_taken")) == 3, what="the new rules")
    file.write_text("access: [")
    wait_until(lambda: len(proxy.log_lines("access_not_taken")) == 3, what="the mistake")
    workers = {child.pid for child in proxy.children()}
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(
        lambda: len({child.pid for child in proxy.children()} - workers) == 2, what="two new workers"
    )
    wait_until(lambda: statuses(proxy, alice) == {404}, what="an answer")


def test_the_configurations_own_rules_are_taken_by_order(proxy: Proxy) -> None:
    alice = proxy.make_token("code:read")[0]
    bob = proxy.make_token("code:read", account="bob")[0]
    assert (statuses(proxy, alice), statuses(proxy, bob)) == ({200}, {200})
    proxy.config_file.write_text(yaml.safe_dump(proxy.config | yaml.safe_load(ALICE)))
    os.kill(proxy.pid, signal.SIGHUP)
    wait_until(lambda: proxy.log_lines("reloaded"), what="the order")
    assert proxy.log_lines("reloaded")[0]["needs_restart"] == []
    assert (statuses(proxy, alice), statuses(proxy, bob)) == ({200}, {404})


def test_an_order_with_a_broken_file_changes_nothing(proxy: Proxy) -> None:
    bob = proxy.make_token("code:read", account="bob")[0]
    rules = yaml.safe_load(ALICE)
    proxy.config_file.write_text(yaml.safe_dump(proxy.config | rules))
    os.kill(proxy.pid, signal.SIGHUP)
    wait_until(lambda: proxy.log_lines("reloaded"), what="the order")
    proxy.config_file.write_text(yaml.safe_dump(proxy.config | {"access_file": "none.yaml"}))
    os.kill(proxy.pid, signal.SIGHUP)
    wait_until(lambda: proxy.log_lines("not_reloaded"), what="the other order")
    assert "none.yaml: there is no such file" in proxy.log_lines("not_reloaded")[0]["reason"]
    assert statuses(proxy, bob) == {404}


def test_there_is_no_start_with_a_broken_file(proxy: Proxy) -> None:
    proxy.config_file.write_text(yaml.safe_dump(proxy.config | {"access_file": "none.yaml"}))
    outcome = proxy.cli("serve")
    assert outcome.code == 1
    assert outcome.text == (
        f"gitpat-proxy: {proxy.folder}/none.yaml: there is no such file; access_file names it\n"
    )
