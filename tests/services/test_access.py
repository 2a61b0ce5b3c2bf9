"""The rules that hold at the moment: taken anew when they change, all or none of them."""

import asyncio
import os
from pathlib import Path

import pytest

from gitpat_proxy.config.errors import ConfigError
from gitpat_proxy.config.loader import load, load_access
from gitpat_proxy.config.model import Config
from gitpat_proxy.services.access import Access, rules_in

ROUTES = "routes: [{path: /, upstream: 'http://host'}]\n"
EVERYBODY_READS = "access:\n  - {who: ['*'], repositories: ['**'], allow: code:read}\n"
ALICE_ALONE = """
groups: {developers: [alice]}
access:
  - {who: [developers], repositories: [team/app], allow: code:read}
  - {who: [developers], repositories: [team/**], allow: code:write, refs: [refs/heads/a]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "access.yaml"
    file.write_text(EVERYBODY_READS)
    return file


def configured(folder: Path, text: str) -> Config:
    (folder / "config.yaml").write_text(ROUTES + text)
    return load(folder / "config.yaml")


def following(file: Path) -> Access:
    return Access(configured(file.parent, "access_file: access.yaml\n"))


def look(access: Access, times: int = 2) -> None:
    """Look; twice takes a change: what has changed since the look before is left for the next."""
    for _ in range(times):
        asyncio.run(access.look())


def places(access: Access, name: str) -> list[str] | None:
    rules = access.of_account(name)
    return None if rules is None else [rule.place for rule in rules]


def test_without_rules_nothing_limits_an_account(tmp_path: Path) -> None:
    assert Access(configured(tmp_path, "")).of_account("alice") is None


def test_the_configurations_own_rules_hold_with_their_places(tmp_path: Path) -> None:
    access = Access(configured(tmp_path, ALICE_ALONE))
    assert places(access, "alice") == ["config.yaml:5", "config.yaml:6"]
    assert places(access, "bob") == []


def test_no_rules_at_all_give_nobody_anything(tmp_path: Path) -> None:
    assert places(Access(configured(tmp_path, "access: []\n")), "alice") == []


def test_a_file_is_taken_as_it_changes(file: Path) -> None:
    access = following(file)
    assert places(access, "bob") == ["access.yaml:2"]
    file.write_text(ALICE_ALONE)
    look(access)
    assert (places(access, "bob"), places(access, "alice")) == ([], ["access.yaml:4", "access.yaml:5"])
    replacement = file.with_suffix(".new")
    replacement.write_text(EVERYBODY_READS)
    replacement.rename(file)
    look(access)
    assert places(access, "bob") == ["access.yaml:2"]


def test_what_is_still_being_written_is_left_alone(file: Path) -> None:
    """The first half of a file may be valid, and give what its second half takes away."""
    access = following(file)
    file.write_text(ALICE_ALONE[: ALICE_ALONE.rindex("  - ")])
    look(access, times=1)
    assert places(access, "alice") == ["access.yaml:2"]
    file.write_text(ALICE_ALONE)
    look(access, times=1)
    assert places(access, "alice") == ["access.yaml:2"]
    look(access, times=1)
    assert places(access, "alice") == ["access.yaml:4", "access.yaml:5"]


def test_what_changes_while_it_is_read_is_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = following(file)
    file.write_text(ALICE_ALONE)
    look(access, times=1)

    def read_and_overtaken(read: Path) -> object:
        rules = load_access(read)
        read.write_text("access: []\n")
        return rules

    monkeypatch.setattr("gitpat_proxy.services.access.load_access", read_and_overtaken)
    look(access, times=1)
    assert places(access, "alice") == ["access.yaml:2"]
    monkeypatch.undo()
    look(access)
    assert places(access, "alice") == []


@pytest.mark.parametrize("broken", ["", "access: [", "access: [{who: [alice]}]\n", "groups: {}\n"])
def test_a_broken_file_leaves_the_rules_from_before(
    file: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    access = following(file)
    file.write_text(broken)
    look(access, times=5)
    assert places(access, "bob") == ["access.yaml:2"]
    assert access.problem
    assert access.problem.startswith(f"{file}:1: ")
    assert capsys.readouterr().out.count("access_not_taken") == 1
    file.write_text(ALICE_ALONE)
    look(access)
    assert (access.problem, places(access, "bob")) == (None, [])


def test_a_file_that_is_gone_leaves_the_rules_from_before(file: Path) -> None:
    access = following(file)
    file.unlink()
    look(access)
    assert places(access, "bob") == ["access.yaml:2"]
    assert access.problem == f"{file}: there is no such file; access_file names it"


def test_a_look_at_a_file_as_it_was_reads_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = following(file)
    monkeypatch.setattr("gitpat_proxy.services.access.load_access", pytest.fail)
    look(access)


@pytest.mark.parametrize("text", [None, "access: {}\n"])
def test_there_is_no_beginning_with_a_broken_file(file: Path, text: str | None) -> None:
    file.write_text(text) if text else file.unlink()
    with pytest.raises(ConfigError, match=r"access\.yaml"):
        following(file)


def test_an_order_takes_what_the_configuration_says(file: Path) -> None:
    folder = file.parent
    config = configured(folder, "")
    access = Access(config)

    def order(text: str) -> None:
        new = configured(folder, text)
        rules = rules_in(new)
        assert config.take_over(new) == []
        access.hold(rules)

    order("access: []\n")
    assert places(access, "bob") == []
    order("access_file: access.yaml\n")
    assert places(access, "bob") == ["access.yaml:2"]
    os.rename(file, folder / "other.yaml")  # noqa: PTH104 - as `mv` does
    order("access_file: other.yaml\n")
    assert places(access, "bob") == ["other.yaml:2"]
    with pytest.raises(ConfigError):
        order("access_file: none.yaml\n")
    assert places(access, "bob") == ["other.yaml:2"]
    (folder / "other.yaml").write_text(ALICE_ALONE)
    look(access)
    assert places(access, "bob") == []
    order("")
    assert (access.of_account("bob"), access.problem) == (None, None)
