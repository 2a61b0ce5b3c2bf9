"""What a killed process leaves: how many events it had not written."""

import errno
import os
import stat
from pathlib import Path

import pytest

from gitpat_proxy.store.unwritten import Unwritten, left_behind
from tests.store.killed import killed_after

LINK = (7, bytes(range(32)))
OTHER = (7, bytes(32))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """One whose name means something else in a pattern."""
    return tmp_path / "git[pat]*.db"


@pytest.mark.parametrize(
    ("steps", "lost_with_link", "lost_without"),
    [
        ([], 0, 0),
        ([("add", (1,)), ("add", (1,)), ("add", (1,))], 3, 3),
        ([("add", (3,)), ("before_commit", (2, LINK))], 1, 3),
        ([("add", (3,)), ("before_commit", (2, LINK)), ("after_commit", ())], 1, 1),
        ([("add", (3,)), ("before_commit", (3, LINK)), ("after_commit", ())], 0, 0),
        # Rolled back, then tried again together with another one.
        ([("add", (3,)), ("before_commit", (2, OTHER)), ("before_commit", (3, LINK))], 0, 3),
        # Given up, also while others were being written.
        ([("add", (5,)), ("add", (-2,))], 3, 3),
        ([("add", (3,)), ("before_commit", (2, LINK)), ("add", (-1,))], 0, 2),
        ([("add", (3,)), ("before_commit", (2, LINK)), ("add", (-1,)), ("after_commit", ())], 0, 0),
    ],
)
def test_what_was_lost(
    database: Path, steps: list[tuple[str, tuple[object, ...]]], lost_with_link: int, lost_without: int
) -> None:
    killed_after(database, *steps)
    with left_behind(database) as found:
        assert [left.lost(link_is_there=True) for left in found] == [lost_with_link]
        assert [left.lost(link_is_there=False) for left in found] == [lost_without]
    assert not list(database.parent.iterdir())


def test_which_record_decides(database: Path) -> None:
    killed_after(database, ("add", (3,)), ("before_commit", (2, LINK)))
    with left_behind(database) as found:
        assert [left.link for left in found] == [LINK]


def test_what_was_counted_before_it_had_a_file_counts(database: Path) -> None:
    unwritten = Unwritten()
    unwritten.add(2)
    unwritten.open(database)
    unwritten.close()
    with left_behind(database) as found:
        assert [left.lost(link_is_there=False) for left in found] == [2]


def test_nobody_takes_the_file_of_a_living_process_and_none_else_reads_it(database: Path) -> None:
    unwritten = Unwritten()
    unwritten.open(database)
    unwritten.add(1)
    with left_behind(database) as found:
        assert found == []
    [file] = database.parent.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    unwritten.before_commit(1, LINK)
    unwritten.after_commit()
    unwritten.close()
    assert not file.exists()


def test_one_of_several_that_look_finds_it(database: Path) -> None:
    killed_after(database, ("add", (1,)))
    with left_behind(database) as found, left_behind(database) as found_by_another:
        assert (len(found), len(found_by_another)) == (1, 0)


def test_what_could_not_be_told_is_left(database: Path) -> None:
    killed_after(database, ("add", (1,)))
    with pytest.raises(RuntimeError), left_behind(database):
        raise RuntimeError
    with left_behind(database) as found:
        assert len(found) == 1


def test_a_file_that_is_being_made_is_left_alone(database: Path) -> None:
    file = database.with_name(f"{database.name}-unwritten-new")
    file.touch()
    with left_behind(database) as found:
        assert found == []
    assert file.exists()


def test_other_databases_have_their_own(database: Path) -> None:
    killed_after(database.with_name("gitpat.db"), ("add", (1,)))
    with left_behind(database) as found:
        assert found == []


def test_on_a_full_disk_it_counts_without_a_file(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    unwritten = Unwritten()
    with pytest.raises(OSError, match="No space left"):
        unwritten.open(database)
    assert not list(database.parent.iterdir())
    unwritten.add(1)
    unwritten.close()
