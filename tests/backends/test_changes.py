"""What the kernel tells of changes: each is known by the next question, without a look at all files."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitpat_proxy.backends import changes
from gitpat_proxy.backends.changes import Changes, Watched
from gitpat_proxy.backends.fingerprint import Fingerprint
from tests.backends.test_fingerprint import CHANGES, HEAD, ONE, TWO, Change, exchange, look, repository

__all__ = ["repository"]


class Looks:
    """How many files were looked at, and a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.number = 0
        is_current = Fingerprint.is_current

        def counted(fingerprint: Fingerprint) -> bool:
            self.number += len(fingerprint.facts)
            return is_current(fingerprint)

        monkeypatch.setattr(Fingerprint, "is_current", counted)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def of(self, question: Callable[[], bool]) -> int:
        """Return how many one question takes, whose answer is yes."""
        before = self.number
        assert question()
        return self.number - before


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Changes]:
    """On whatever file system the tests run, it tells of what they do there."""
    monkeypatch.setattr(changes, "_WORTH_FILES", 50)
    monkeypatch.setattr(changes, "_telling_devices", lambda _mounts: {tmp_path.stat().st_dev})
    told = Changes()
    yield told
    told.close()


def watches(told: Changes) -> int:
    """Return how many the kernel has for it (proc(5), fdinfo)."""
    assert told._told
    return Path(f"/proc/self/fdinfo/{told._told.inotify.fileno()}").read_text().count("inotify wd:")


def asked_often(seen: Fingerprint, told: Changes) -> Watched:
    watched = Watched(seen, told)
    for _ in range(4):
        assert watched.is_current()
    return watched


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_told_of(repository: Path, told: Changes, looks: Looks, change: Change) -> None:
    watched = asked_often(look(repository), told)
    assert looks.of(watched.is_current) < 5
    change(repository)
    assert not watched.is_current()


def test_only_who_is_asked_for_often_is_watched(repository: Path, told: Changes, looks: Looks) -> None:
    seen = look(repository)
    watched = Watched(seen, told)
    assert [looks.of(watched.is_current) for _ in range(6)] == [len(seen.facts)] * 4 + [1] * 2


def test_what_has_nothing_to_do_with_refs_is_not_looked_at(
    repository: Path, told: Changes, looks: Looks
) -> None:
    seen = look(repository)
    watched, other = asked_often(seen, told), asked_often(seen, told)
    for _ in range(3):
        (repository / "objects/12/3456").touch()
        (repository / "refs/heads/main").read_bytes()
        assert looks.of(watched.is_current) == looks.of(other.is_current) == 1
    repository.with_name("new.git").mkdir()
    assert not watched.is_current()
    assert not other.is_current()


def test_what_no_event_tells_of_is_seen_within_a_second(
    repository: Path, told: Changes, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = asked_often(look(repository), told)
    monkeypatch.setattr(told, "read", lambda: None)
    exchange(repository / "refs/heads/main", TWO)
    assert watched.is_current()
    looks.now += 1.0
    assert not watched.is_current()


def test_the_way_there_is_looked_at_each_time(repository: Path, told: Changes, looks: Looks) -> None:
    """What lies above the root is not watched."""
    above = repository.parents[2] / "above"
    for name in ("root", "system"):
        shutil.copytree(repository.parents[2] / name, above / name)
    time.sleep(0.012)  # The kernel's clock for files, whose tick can't be injected.
    watched = asked_often(look(above / "root/team/app.git"), told)
    shutil.copytree(above, above.with_name("copy"))
    above.rename(above.with_name("old"))
    above.with_name("copy").rename(above)
    assert not watched.is_current()


def test_where_links_lead_is_looked_at(repository: Path, told: Changes, looks: Looks) -> None:
    """The folder in which a link's target lies is not watched."""
    elsewhere = repository.parents[2] / "elsewhere"
    (elsewhere / "one").mkdir(parents=True)
    (elsewhere / "one" / "packed-refs").write_bytes(ONE)
    (repository / "packed-refs").unlink()
    (repository / "packed-refs").symlink_to(elsewhere / "one" / "packed-refs")
    (repository / "objects").rename(elsewhere / "one" / "objects")
    (repository / "objects").symlink_to(elsewhere / "one" / "objects")
    time.sleep(0.012)  # as above
    watched = asked_often(look(repository), told)
    assert looks.of(watched.is_current) == 5
    (elsewhere / "one").rename(elsewhere / "two")
    assert not watched.is_current()


def test_what_lies_on_other_file_systems_is_looked_at(
    repository: Path, told: Changes, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_telling_devices", lambda _mounts: set())
    seen = look(repository)
    watched = asked_often(seen, told)
    assert looks.of(watched.is_current) == len(seen.facts)
    exchange(repository / "HEAD", b"ref: refs/heads/next\n")
    assert not watched.is_current()


def test_where_nothing_can_be_watched_all_is_looked_at(
    repository: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(changes, "INotify", fail)
    told = Changes()
    seen = look(repository)
    watched = asked_often(seen, told)
    assert looks.of(watched.is_current) == len(seen.facts)
    (repository / "HEAD").write_bytes(HEAD)
    assert not watched.is_current()


def test_only_so_many_are_watched(
    repository: Path, told: Changes, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_MOST_WATCHES", 7)
    seen = look(repository)
    watched = asked_often(seen, told)
    assert looks.of(watched.is_current) >= len(seen.facts) - 7
    assert watches(told) == 7
    (repository / "refs/tags/v1").touch()
    assert not watched.is_current()


def test_what_is_not_asked_for_any_more_is_not_watched(
    repository: Path, told: Changes, looks: Looks
) -> None:
    other = repository.with_name("other.git")
    shutil.copytree(repository, other)
    time.sleep(0.012)  # as above
    first, second = asked_often(look(repository), told), asked_often(look(other), told)
    both = watches(told)
    first.close()
    assert 0 < watches(told) < both
    (other / "refs/tags/v1").touch()
    assert not second.is_current()
    second.close()
    first.close()
    assert watches(told) == 0
    third = asked_often(look(repository), told)
    assert looks.of(third.is_current) < 5
    shutil.rmtree(repository)
    assert not third.is_current()
    third.close()
    assert watches(told) == 0


def test_what_is_closed_can_be_asked_and_is_watched_again(
    repository: Path, told: Changes, looks: Looks
) -> None:
    watched = asked_often(look(repository), told)
    watched.close()
    assert watches(told) == 0
    for _ in range(4):
        assert watched.is_current()
    assert looks.of(watched.is_current) == 1
    exchange(repository / "packed-refs", TWO)
    assert not watched.is_current()


def test_where_too_much_changes_at_once_all_is_looked_at(
    repository: Path, told: Changes, looks: Looks
) -> None:
    """The kernel keeps so many events, and says then that there were more."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    watched = asked_often(look(repository), told)
    file = repository / "shallow"
    other = asked_often(look(repository), told)
    for number in range(most // 2 + 10):
        os.utime(repository / "refs/heads/main", (number, number))
        os.utime(repository / "HEAD", (number, number))
    file.write_bytes(ONE)
    assert not watched.is_current()
    assert not other.is_current()


def test_what_is_mounted_is_heard_of(
    repository: Path, told: Changes, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file system over a folder changes none of what is watched."""
    seen = look(repository)
    watched = asked_often(seen, told)
    assert looks.of(watched.is_current) == 1
    assert told._told
    number = told._told.mounts.fileno()

    class Ready:
        def poll(self, _timeout: int) -> list[tuple[int, int]]:
            return [(number, 2)]

    monkeypatch.setattr(told._told, "ready", Ready())
    assert looks.of(watched.is_current) == len(seen.facts)


def test_the_file_systems_that_tell() -> None:
    mounts = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
30 27 8:17 / /srv/git\\040repositories rw - xfs /dev/sdb1 rw
31 27 0:50 / /mnt/nfs rw - nfs4 server:/git rw
32 27 0:51 / /mnt/overlay rw - overlay overlay rw,lowerdir=/a
33 27 0:52 / /home rw - btrfs /dev/sdc rw
34 27 0:53 / /tmp rw - tmpfs tmpfs rw
"""
    assert changes._telling_devices(mounts) == {
        os.makedev(254, 0),
        os.makedev(8, 17),
        os.makedev(0, 53),
    }
    assert changes._telling_devices(Path("/proc/self/mountinfo").read_text()) is not None
