"""What becomes of pushes, tokens, audit, backups and the log when a disk is full, and afterwards."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import faults
from tests.support.faults import People
from tests.support.git import make_repository
from tests.support.proxy import PROGRAM, Proxy, wait_until

FULL = "can't be used: database or disk is full"


@contextmanager
def serving(proxy: Proxy) -> Iterator[People]:
    try:
        proxy.start()
        yield People(proxy)
    finally:
        if proxy.process:
            proxy.stop()


@faults.with_mounts
def test_repositories_on_a_full_disk(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy")
    with faults.small_disk(proxy.repositories, 2000):
        make_repository(proxy.repositories / "team" / "app.git")
        with serving(proxy) as people:
            big = people.push(3_000_000)
            assert not big.ok
            assert "remote: fatal: " in big.text
            assert "No space left on device" in big.text
            assert "[remote rejected]" in big.text
            people.assert_nothing_is_half_done()
            people.git("reset", "--quiet", "--hard", "origin/main", cwd=people.work)
            with faults.filled(proxy.repositories):
                small = people.push()
                assert not small.ok
                assert "No space left on device" in small.text
                assert people.fetch().ok
                people.git("clone", "--quiet", f"{proxy.url}/team/app", str(tmp_path / "clone"))
                people.assert_nothing_is_half_done()
            people.assert_all_is_well()
            outcomes = [
                update["outcome"]
                for event in proxy.audit_of(7)
                if event["event"] == "push"
                for update in event["details"]["updates"]
            ]
            assert outcomes == ["ng", "ng", "ok"]
            causes = [line["reason"] for line in proxy.log_lines("push_failed")]
            assert ["No space left on device" in cause for cause in causes] == [True, True]


@faults.with_mounts
def test_the_database_on_a_full_disk(tmp_path: Path) -> None:
    """What only reads goes on, pushes too; what writes is refused, and nothing is half done."""
    proxy = Proxy(tmp_path / "proxy", database="sqlite:///data/gitpat.db")
    data = proxy.folder / "data"
    with faults.small_disk(data, 2000):
        make_repository(proxy.repositories / "team" / "app.git")
        with serving(proxy) as people:
            people.assert_all_is_well()
            with faults.filled(data):
                faults.assert_writers_are_told(people, FULL)
                faults.assert_shell_is_told(proxy, FULL, *faults.WRITING)
                backup = ["database", "backup", str(data / "backup")]
                cause = "can't be backed up to .*/backup: database or disk is full"
                faults.assert_shell_is_told(proxy, cause, backup)
                assert not list(data.glob("*backup*"))
                with faults.log_of(proxy) as lines:
                    assert people.fetch().ok
                    pushed = people.push()
                    assert pushed.ok, pushed.text
                faults.assert_reasons(
                    [line for line in lines if line["event"] == "audit_not_written"], FULL
                )
                assert people.browser.get("/-/tokens").status == 200
                assert people.call("GET", "self")[0] == 200
                assert json.loads(proxy.ok("token", "list", "--json"))
            people.assert_all_is_well()
            # The push that was acknowledged meanwhile is in the audit.
            wait_until(lambda: len(people.pushes()) == 3, what="three pushes in the audit")
            # It stops on a full disk, and starts on one.
            with faults.filled(data):
                assert proxy.stop() == 0
                proxy.start()
                assert people.fetch().ok
            people.assert_all_is_well()


@faults.with_mounts
def test_no_database_can_be_made_on_a_full_disk(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy", database="sqlite:///data/gitpat.db")
    data = proxy.folder / "data"
    make_repository(proxy.repositories / "team" / "app.git")
    with faults.small_disk(data, 1500):
        with faults.filled(data):
            for command in (["serve"], ["database", "upgrade"]):
                faults.assert_shell_is_told(proxy, "disk is full|disk I/O error", command)
        with serving(proxy) as people:
            assert people.make_token()[0] == 201


@faults.with_mounts
def test_the_log_on_a_full_disk(tmp_path: Path) -> None:
    """Requests don't fail for it; how many lines are missing is said when there is space again."""
    proxy = Proxy(tmp_path / "proxy")
    disk = proxy.folder / "disk"
    with faults.small_disk(disk, 64):
        proxy.log_file = disk / "log"
        make_repository(proxy.repositories / "team" / "app.git")
        with serving(proxy) as people:
            people.assert_all_is_well()
            with faults.filled(disk):
                size = proxy.log_file.stat().st_size
                while proxy.log_file.stat().st_size > size:
                    size = proxy.log_file.stat().st_size
                    assert people.fetch().ok
                people.assert_all_is_well()
            people.assert_all_is_well()
            # The last line before may have broken off.
            whole = [json.loads(line) for line in proxy.log.split("\n") if line.endswith("}")]
            lost = [line["lines"] > 0 for line in whole if line["event"] == "log_lines_lost"]
            assert lost == [True]
            assert whole[-1]["status"] == 200


def test_what_a_command_prints_on_a_full_disk() -> None:
    # Empty is unset: it writes at its end, as it does for people.
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [PROGRAM, "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == (
        "gitpat-proxy: what was done is done, but can't be printed: No space left on device\n"
    )
