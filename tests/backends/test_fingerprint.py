"""What changes a repository's answers is seen, old times or not; what is young is not relied upon."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gitpat_proxy.backends.fingerprint import (
    Fingerprint,
    Installation,
    UnknowableError,
    fingerprint_of,
)

TICK = 50_000_000
COARSE_TICK = 2_000_000_000
SECOND = 1_000_000_000
HEAD = b"ref: refs/heads/main\n"
ONE, TWO = b"1" * 40 + b"\n", b"2" * 40 + b"\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What git looks at in a repository, some of it; it is at rest for as long as a file's tick."""
    path = tmp_path / "root" / "team" / "app.git"
    for folder in (
        "objects/pack",
        "objects/12",
        "objects/info",
        "refs/heads/topic",
        "refs/tags",
        "info",
    ):
        (path / folder).mkdir(parents=True)
    for name, content in {
        "HEAD": HEAD,
        "config": b"[core]\n\tbare = true\n",
        "packed-refs": ONE,
        "refs/heads/main": ONE,
        "refs/heads/topic/new": ONE,
    }.items():
        (path / name).write_bytes(content)
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "gitconfig").write_text("")
    (tmp_path / "system" / "git-http-backend").write_text("")
    # The kernel's clock for files can't be injected: its next tick is waited for.
    time.sleep(0.012)
    return path


def look(repository: Path) -> Fingerprint:
    """Of what `repository` made, or a copy of it beside."""
    root = repository.parents[1]
    system = root.parent / "system"
    return fingerprint_of(
        root,
        str(repository.relative_to(root)),
        [],
        Installation((str(system / "git-http-backend"),), (str(system / "gitconfig"),)),
    )


def write_in_place(path: Path, content: bytes) -> None:
    """Without another length, file or time of its content."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def exchange(path: Path, content: bytes) -> None:
    """As git does, with an old time on top."""
    new = path.with_name("new.lock")
    new.write_bytes(content)
    os.utime(new, (1, 1))
    new.rename(path)


def replace_by_copy(path: Path) -> None:
    """Another folder in its place, as a restored backup is: names, contents and times are the same."""
    shutil.copytree(path, path.with_name("copy"), symlinks=True)
    path.rename(path.with_name("old"))
    path.with_name("copy").rename(path)


def restore_in_place(path: Path) -> None:
    """The same once more where the folder's own inode may come back."""
    shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    shutil.copytree(path.with_name("copy"), path)


def link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


Change = Callable[[Path], object]

CHANGES: dict[str, Change] = {
    "a loose ref exchanged": lambda r: exchange(r / "refs/heads/main", TWO),
    "a loose ref written in place": lambda r: write_in_place(r / "refs/heads/main", TWO),
    "a deep one written in place": lambda r: write_in_place(r / "refs/heads/topic/new", TWO),
    "a new ref": lambda r: (r / "refs/tags/v1").write_bytes(ONE),
    "a new folder of refs": lambda r: (r / "refs/other").mkdir(),
    "a ref deleted": lambda r: (r / "refs/heads/main").unlink(),
    "a folder of refs deleted": lambda r: shutil.rmtree(r / "refs/heads/topic"),
    "a folder of refs renamed": lambda r: (r / "refs/heads/topic").rename(r / "refs/heads/other"),
    "a ref that can't be read": lambda r: (r / "refs/heads/main").chmod(0),
    "a ref that becomes a link": lambda r: link(r / "refs/heads/main", "topic/new"),
    "a ref linked to from elsewhere": lambda r: (r / "refs/tags/v1").hardlink_to(r / "refs/heads/main"),
    "HEAD exchanged": lambda r: exchange(r / "HEAD", b"ref: refs/heads/next\n"),
    "HEAD written in place": lambda r: write_in_place(r / "HEAD", b"ref: refs/heads/next\n"),
    "HEAD deleted": lambda r: (r / "HEAD").unlink(),
    "HEAD as a link": lambda r: link(r / "HEAD", "refs/heads/main"),
    "packed-refs exchanged": lambda r: exchange(r / "packed-refs", TWO),
    "packed-refs written in place": lambda r: write_in_place(r / "packed-refs", TWO),
    "packed-refs deleted": lambda r: (r / "packed-refs").unlink(),
    "packed-refs as a link": lambda r: link(r / "packed-refs", "refs/heads/main"),
    "config": lambda r: exchange(r / "config", b"[transfer]\n\thideRefs = refs/heads\n"),
    "config written in place": lambda r: write_in_place(r / "config", b"[CORE]\n\tbare = true\n"),
    "config deleted": lambda r: (r / "config").unlink(),
    "config.worktree": lambda r: (r / "config.worktree").touch(),
    "shallow": lambda r: (r / "shallow").write_bytes(ONE),
    "grafts": lambda r: (r / "info/grafts").write_bytes(ONE),
    "alternates": lambda r: (r / "objects/info/alternates").write_text("/srv\n"),
    "a replacement": lambda r: (r / "refs/replace").mkdir(),
    "a pack": lambda r: (r / "objects/pack/pack-1.pack").touch(),
    "commondir": lambda r: (r / "commondir").write_text(".."),
    "reftable": lambda r: (r / "reftable").mkdir(),
    "the repository's mode": lambda r: r.chmod(0o700),
    "the mode of refs": lambda r: (r / "refs").chmod(0o700),
    "the repository renamed": lambda r: r.rename(r.with_name("other.git")),
    "the repository deleted": shutil.rmtree,
    "the repository replaced": replace_by_copy,
    "the repository restored": restore_in_place,
    "refs replaced": lambda r: replace_by_copy(r / "refs"),
    "objects replaced": lambda r: replace_by_copy(r / "objects"),
    "another of the same name": lambda r: r.with_name("app").mkdir(),
    "the folder above replaced": lambda r: replace_by_copy(r.parent),
    "the folder above is a repository": lambda r: (r.parent / "HEAD").write_bytes(HEAD),
    "the system's configuration": lambda r: exchange(r.parents[2] / "system/gitconfig", b"[a]\n"),
    "git itself": lambda r: exchange(r.parents[2] / "system/git-http-backend", b"2.50"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(repository: Path, change: Change) -> None:
    before = look(repository)
    assert before.is_current()
    change(repository)
    assert not before.is_current()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_seen_afterwards_is_not_the_same(repository: Path, change: Change) -> None:
    before = look(repository)
    change(repository)
    try:
        after = look(repository)
    except (OSError, UnknowableError):
        return
    assert after.is_current()
    assert not before.shows_the_same(after)


def test_what_has_nothing_to_do_with_refs_changes_nothing(repository: Path) -> None:
    before = look(repository)
    (repository / "objects/12/3456").touch()
    (repository / "refs/heads/main").read_bytes()
    assert before.is_current()
    assert before.shows_the_same(look(repository))


def test_a_name_that_comes_before_is_seen_when_it_becomes_a_repository(tmp_path: Path) -> None:
    """`app` is found while `app.git` is none yet; the folder may have been there before."""
    root = tmp_path / "root"
    for name in ("app", "app.git"):
        (root / name / "refs").mkdir(parents=True)
        (root / name / "objects").mkdir()
    (root / "app" / "HEAD").write_bytes(HEAD)
    before = fingerprint_of(root, "app", ["app.git"], Installation((), ()))
    assert before.is_current()
    (root / "app.git" / "HEAD").write_bytes(HEAD)
    assert not before.is_current()


# What can't be known


def many_refs(repository: Path) -> None:
    for number in range(1000):
        (repository / "refs" / "tags" / str(number)).touch()


UNKNOWABLE: dict[str, Change] = {
    "HEAD is a link": lambda r: link(r / "HEAD", "refs/heads/main"),
    "a ref is a link": lambda r: link(r / "refs/heads/main", "../../../../main"),
    "a folder of refs is a link": lambda r: link(r / "refs/elsewhere", "../../.."),
    "a link that leads nowhere": lambda r: link(r / "refs/heads/broken", "nowhere"),
    "it is another one's work tree": lambda r: (r / "commondir").write_text(".."),
    "config includes": lambda r: (r / "config").write_text("[include]\n\tpath = other\n"),
    "config includes at times": lambda r: (r / "config").write_text('[includeIf "onbranch:main"]\n'),
    "config includes loudly": lambda r: (r / "config").write_text("[INCLUDE]\n"),
    "the work tree's includes": lambda r: (r / "config.worktree").write_text("[include]\n"),
    "the system's includes": lambda r: (r.parents[2] / "system/gitconfig").write_text("[Include]\n"),
    "too many refs": many_refs,
}


@pytest.mark.parametrize("change", UNKNOWABLE.values(), ids=UNKNOWABLE)
def test_what_depends_on_more_is_unknowable(repository: Path, change: Change) -> None:
    change(repository)
    with pytest.raises(UnknowableError):
        look(repository)


@pytest.mark.parametrize("part", ["", "refs"])
def test_without_a_repository_there_is_nothing_to_see(repository: Path, part: str) -> None:
    shutil.rmtree(repository / part)
    with pytest.raises(OSError, match="No such file"):
        look(repository)


# Racy times


def aged(seen: Fingerprint, *times: int | None, taken_at: int) -> Fingerprint:
    """Return it with other times of change."""
    facts = tuple(("x", 0, 0) if moment is None else ("x", moment, 1) for moment in times)
    return replace(seen, facts=facts, taken_at=taken_at)


NOW = 1_700_000_000 * SECOND + 123_456_789
WHOLE = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("times", "taken_at", "is_settled"),
    [
        ([NOW - TICK - 1], NOW, True),
        ([NOW - TICK], NOW, False),
        ([NOW], NOW, False),
        ([NOW + 5 * SECOND], NOW, False),
        ([NOW - 9 * SECOND, NOW - 1], NOW, False),
        ([NOW - 9 * SECOND, None, NOW - 8 * SECOND], NOW, True),
        ([WHOLE], WHOLE + COARSE_TICK + 1, True),
        ([WHOLE], WHOLE + COARSE_TICK, False),
        ([WHOLE, WHOLE - 50 * SECOND], WHOLE + SECOND, False),
        ([WHOLE], WHOLE + TICK + 1, False),
        ([WHOLE, WHOLE - 100 * SECOND - 1], WHOLE + TICK + 1, False),
    ],
)
def test_what_is_young_is_not_relied_upon(
    repository: Path, times: list[int | None], taken_at: int, is_settled: bool
) -> None:
    assert aged(look(repository), *times, taken_at=taken_at).is_settled is is_settled


def test_it_settles_by_itself(repository: Path) -> None:
    (repository / "refs/heads/main").write_bytes(TWO)
    assert not look(repository).is_settled
    time.sleep(0.06)  # the kernel's clock, as above
    assert look(repository).is_settled


def test_whole_seconds_are_seen_beside_programs_on_a_finer_file_system(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git and its configuration lie elsewhere, as a rule: their times say nothing of it."""
    real = os.stat

    def stat(path: str | Path, **options: bool) -> os.stat_result | SimpleNamespace:
        status = real(path, **options)
        if not str(path).startswith(str(repository.parents[1])):
            return status
        whole = status.st_ctime_ns // SECOND * SECOND
        others = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return SimpleNamespace(**others | {"st_ctime_ns": whole})

    monkeypatch.setattr(os, "stat", stat)
    time.sleep(1 - time.time() % 1 + 0.1)  # the kernel's clock, as above
    (repository / "refs/heads/main").write_bytes(TWO)
    time.sleep(0.2)
    before = look(repository)
    write_in_place(repository / "refs/heads/main", ONE)
    assert before.is_current()
    assert not before.is_settled
