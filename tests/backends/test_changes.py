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


LOOKED_AT = 3
"""Of a repository that is watched: its Git directory, git's program, and the machine's configuration."""


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
    told = Changes(1)
    yield told
    told.close()


def watches(told: Changes) -> int:
    """Return how many the kernel has for it (proc(5), fdinfo)."""
    if told._sources is None:
        return 0
    return Path(f"/proc/self/fdinfo/{told._sources.inotify.fileno()}").read_text().count("inotify wd:")


def let_the_clock_tick() -> None:
    """So that what changes next bears another time: the kernel's clock for files can't be injected."""
    time.sleep(0.012)


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


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/topic/new", "packed-refs"])
def test_what_is_written_in_place_is_told_of(
    repository: Path, told: Changes, looks: Looks, name: str
) -> None:
    watched = asked_often(look(repository), told)
    with (repository / name).open("r+b", buffering=0) as file:
        file.write(b"2")
        assert not watched.is_current()


def test_only_who_is_asked_for_often_is_watched(repository: Path, told: Changes, looks: Looks) -> None:
    seen = look(repository)
    watched = Watched(seen, told)
    assert [looks.of(watched.is_current) for _ in range(6)] == [len(seen.facts)] * 4 + [LOOKED_AT] * 2


def test_nothing_is_opened_before_something_is_watched(repository: Path) -> None:
    """Who only looks whether it could serve leaves nothing open."""

    def opened() -> set[str]:
        return {entry.name for entry in Path("/proc/self/fd").iterdir()}

    before = opened()
    watched = Watched(look(repository), Changes(1))
    assert watched.is_current()
    assert opened() == before


def test_what_has_nothing_to_do_with_refs_is_not_looked_at(
    repository: Path, told: Changes, looks: Looks
) -> None:
    seen = look(repository)
    watched, other = asked_often(seen, told), asked_often(seen, told)
    for _ in range(3):
        (repository / "objects/12/3456").touch()
        (repository / "refs/heads/main").read_bytes()
        assert looks.of(watched.is_current) == looks.of(other.is_current) == LOOKED_AT
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
    let_the_clock_tick()
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
    let_the_clock_tick()
    watched = asked_often(look(repository), told)
    assert looks.of(watched.is_current) == LOOKED_AT + 4
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
    def fail(**_options: bool) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(changes, "INotify", fail)
    told = Changes(1)
    seen = look(repository)
    watched = asked_often(seen, told)
    assert looks.of(watched.is_current) == len(seen.facts)
    (repository / "HEAD").write_bytes(HEAD)
    assert not watched.is_current()


def test_only_so_many_are_watched(
    repository: Path, told: Changes, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "_most", 7)
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
    let_the_clock_tick()
    first, second = asked_often(look(repository), told), asked_often(look(other), told)
    both = watches(told)
    first.close()
    assert 0 < watches(told) < both
    assert looks.of(second.is_current) == LOOKED_AT
    # Both had watched the folder above.
    repository.with_name("new.git").mkdir()
    assert not second.is_current()
    second.close()
    first.close()
    assert watches(told) == 0
    let_the_clock_tick()
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
    assert looks.of(watched.is_current) == LOOKED_AT
    exchange(repository / "packed-refs", TWO)
    assert not watched.is_current()


@pytest.fixture
def of_two(repository: Path, told: Changes, looks: Looks) -> Iterator[tuple[Watched, Watched]]:
    """Two who are told, of the same and of different files."""
    other = repository.with_name("other.git")
    shutil.copytree(repository, other)
    let_the_clock_tick()
    both = asked_often(look(repository), told), asked_often(look(other), told)
    assert [looks.of(one.is_current) for one in both] == [LOOKED_AT] * 2
    yield both
    for one in both:
        one.close()
    assert watches(told) == 0


@pytest.mark.parametrize("number", [10_000, 100])
def test_where_too_much_changes_all_are_watched_anew(
    repository: Path, told: Changes, looks: Looks, of_two: tuple[Watched, Watched], number: int
) -> None:
    """The kernel keeps so many events, and says then that there were more."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    number = most // 2 + 10 if number > 100 else 3000
    times = (repository / "HEAD").stat().st_mtime_ns
    changed, unchanged = of_two
    for _ in range(number):
        os.utime(repository / "refs/heads/main", ns=(times, times))
        os.utime(repository / "HEAD", ns=(times, times))
    assert looks.of(unchanged.is_current) > LOOKED_AT
    assert watches(told) == 0
    assert not changed.is_current()
    for _ in range(4):
        assert unchanged.is_current()
    assert looks.of(unchanged.is_current) == LOOKED_AT
    (repository.with_name("other.git") / "refs/tags/v1").touch()
    assert not unchanged.is_current()


@pytest.mark.parametrize("kind", [changes.flags.UNMOUNT, changes.flags.Q_OVERFLOW])
def test_where_watches_may_be_lost_all_are_watched_anew(
    told: Changes, looks: Looks, of_two: tuple[Watched, Watched], kind: int
) -> None:
    told._pass_on({-1: kind, 5000: changes.flags.IGNORED})
    assert watches(told) == 0
    seen = [looks.of(one.is_current) for one in of_two]
    assert min(seen) > LOOKED_AT


def test_what_is_mounted_is_heard_of(
    told: Changes, looks: Looks, of_two: tuple[Watched, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file system over a folder changes none of what is watched."""
    assert told._sources
    number = told._sources.mounts.fileno()

    class Ready:
        def poll(self, _timeout: int) -> list[tuple[int, int]]:
            return [(number, 2)]

    with monkeypatch.context() as patch:
        patch.setattr(told._sources, "ready", Ready())
        patch.setattr(changes, "_MOUNTS", Path("/nothing"))
        assert looks.of(of_two[0].is_current) > LOOKED_AT
    assert looks.of(of_two[1].is_current) > LOOKED_AT
    assert [looks.of(one.is_current) for one in of_two] == [LOOKED_AT] * 2


def test_what_lies_elsewhere_is_looked_at_each_time(
    repository: Path, told: Changes, looks: Looks
) -> None:
    """Its folder is not watched: it may be renamed."""
    watched = asked_often(look(repository), told)
    system = repository.parents[2] / "system"
    shutil.copytree(system, system.with_name("copy"))
    system.rename(system.with_name("old"))
    system.with_name("copy").rename(system)
    assert not watched.is_current()


def test_the_bound_is_divided_among_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "max_user_watches"
    monkeypatch.setattr(changes, "_LIMIT", limit)
    for text, workers, most in [("65536\n", 1, 16384), ("65536\n", 4, 4096), ("9000000\n", 2, 10_000)]:
        limit.write_text(text)
        told = Changes(workers)
        assert told._most == most
        told.close()
    limit.unlink()
    told = Changes(2)
    assert told._most == 1024
    told.close()


def test_the_file_systems_that_tell(tmp_path: Path) -> None:
    mounts = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
30 27 8:17 / /srv/git\\040repositories rw - xfs /dev/sdb1 rw
31 27 0:50 / /mnt/nfs rw - nfs4 server:/git rw
32 27 0:51 / /mnt/overlay rw - overlay overlay rw,lowerdir=/a
33 27 0:52 / /home rw - btrfs /dev/sdc rw
34 27 0:53 / /tmp rw - tmpfs tmpfs rw
"""
    file = tmp_path / "mountinfo"
    file.write_bytes(mounts.encode() + b"35 27 8:33 / /mnt/\xe9 rw - ext4 /dev/sdc1 rw\n")
    assert changes._telling_devices(file) == {
        os.makedev(254, 0),
        os.makedev(8, 17),
        os.makedev(0, 53),
        os.makedev(8, 33),
    }
    assert changes._telling_devices(tmp_path / "nothing") == set()
