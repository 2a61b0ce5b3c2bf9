"""Which folder is a repository, and which name finds it."""

import os
from pathlib import Path

import pytest

from gitpat_proxy.backends.answers import Answers
from gitpat_proxy.backends.http_backend import (
    HttpBackend,
    git_directory,
    http_backend_program,
    repositories_below,
    symbolic_refs,
)
from gitpat_proxy.config.model import Config, Limits
from tests.support.git import Git, make_repository

CONFIG = Config.model_construct(
    limits=Limits(),
    public_url="http://localhost",
    workers=1,
    spool=Path("/var/tmp"),
    ref_cache_bytes=0,
    pack_cache_seconds=0,
)


def bare(path: Path) -> Path:
    """Make what git takes for a repository, without running it."""
    for name in ("objects", "refs"):
        (path / name).mkdir(parents=True)
    (path / "HEAD").write_text("ref: refs/heads/main\n")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Repositories of every kind, and beside them one that must never be reached."""
    root = tmp_path / "root"
    bare(root / "bare.git")
    bare(root / "plain")
    bare(root / "work" / ".git")
    bare(root / "team" / "inner" / "app.git")
    bare(root / "both")
    bare(root / "both.git")
    bare(root / "three" / ".git")
    bare(root / "three.git")
    bare(root / "three.git" / "modules" / "sub")
    bare(root / "größe.git")
    (root / "folder").mkdir()
    (root / "file.git").touch()
    bare(root / "incomplete.git")
    (root / "incomplete.git" / "refs").rmdir()
    (root / "gitfile").mkdir()
    outside = bare(tmp_path / "outside.git")
    (root / "gitfile" / ".git").write_text(f"gitdir: {outside}\n")
    (root / "inside.git").symlink_to("team/inner/app.git")
    (root / "leaving.git").symlink_to(outside)
    (root / "leaving-folder").symlink_to(tmp_path)
    (root / "leaving-work").mkdir()
    (root / "leaving-work" / ".git").symlink_to(outside)
    (root / "shadowed").symlink_to(outside)
    bare(root / "shadowed.git")
    (root / "covered.git").symlink_to(outside)
    bare(root / "covered")
    (root / "broken.git").symlink_to("nowhere")
    (root / "loop.git").symlink_to("loop.git")
    bare(root / "symlinked-head.git")
    (root / "symlinked-head.git" / "HEAD").unlink()
    (root / "symlinked-head.git" / "HEAD").symlink_to("refs/heads/main")
    # what a push into a repository can make, in its work tree or beside its objects
    bare(root / "work" / "evil.git")
    bare(root / "work" / "deep" / "evil")
    bare(root / "work" / ".git" / "modules" / "sub")
    bare(root / "bare.git" / "evil" / ".git")
    bare(root / "gitfile" / "evil.git")
    bare(root / "leaving-work" / "evil.git")
    for part in ("objects", "refs"):
        leak = bare(root / f"leaking-{part}.git")
        (leak / part).rmdir()
        (leak / part).symlink_to(outside / part)
        bare(leak / "modules" / "evil")
        bare(root / f"leaking-{part}-work" / ".git")
        (root / f"leaking-{part}-work" / ".git" / part).rmdir()
        (root / f"leaking-{part}-work" / ".git" / part).symlink_to(outside / part)
        bare(root / f"leaking-{part}-work" / "evil")
    (root / "sharing.git").mkdir()
    (root / "sharing.git" / "HEAD").write_text("ref: refs/heads/main\n")
    for part in ("objects", "refs"):
        (root / "sharing.git" / part).symlink_to(root / "plain" / part)
    return root


FOUND = [
    ("bare", "bare.git"),
    ("plain", "plain"),
    ("work", "work/.git"),
    ("team/inner/app", "team/inner/app.git"),
    ("both", "both.git"),
    ("three", "three.git"),
    ("größe", "größe.git"),
    ("inside", "inside.git"),
    ("shadowed", "shadowed.git"),
    ("covered", "covered"),
    ("symlinked-head", "symlinked-head.git"),
    ("sharing", "sharing.git"),
]


@pytest.mark.parametrize("suffix", ["", ".git"])
@pytest.mark.parametrize(("name", "directory"), FOUND)
def test_a_name_with_and_without_git_finds_the_same(
    root: Path, name: str, directory: str, suffix: str
) -> None:
    assert git_directory(root, tuple(f"{name}{suffix}".split("/"))) == directory


MISSING = ["missing", "folder", "file", "incomplete", "team", "team/inner", "team/app", "BARE", "bar"]
LEADING_OUT = ["gitfile", "leaving", "leaving-folder/outside", "leaving-work", "broken", "loop"]
LEAKING = [
    f"leaking-{part}{end}" for part in ("objects", "refs") for end in ("", "-work", ".git/modules/evil")
]
INSIDE_ANOTHER = [
    *["work/evil", "work/deep/evil", "work/.git/modules/sub", "three.git/modules/sub", "bare.git/evil"],
    *["gitfile/evil", "leaving-work/evil", "leaking-objects-work/evil", "leaking-refs-work/evil"],
    *["bare/HEAD", "bare.git/objects", "work/missing/evil", "plain/refs"],
]


@pytest.mark.parametrize("suffix", ["", ".git"])
@pytest.mark.parametrize("name", [*MISSING, *LEADING_OUT, *LEAKING, *INSIDE_ANOTHER, "x" * 300])
def test_what_is_not_there_or_leads_out_is_not_found(root: Path, name: str, suffix: str) -> None:
    assert git_directory(root, tuple(f"{name}{suffix}".split("/"))) is None


def test_the_root_may_itself_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert git_directory((tmp_path / "link").resolve(), ("bare",)) == "bare.git"


def test_all_repositories_are_listed_in_order_and_none_outside(root: Path) -> None:
    """Each once: what another one of the same name stands before can't be asked for."""
    assert repositories_below(root, 1000) == [
        *["bare.git", "both.git", "covered", "größe.git", "inside.git", "plain", "shadowed.git"],
        *["sharing.git", "symlinked-head.git", "three.git", "team/inner/app.git", "work/.git"],
    ]


def test_what_is_listed_is_what_is_found(root: Path) -> None:
    for directory in repositories_below(root, 1000):
        name = directory.removesuffix("/.git").removesuffix(".git")
        assert git_directory(root, tuple(name.split("/"))) == directory
    assert len(repositories_below(root, 1000)) == len({directory for _, directory in FOUND})


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_are_listed_than_asked_for(root: Path, most: int) -> None:
    assert len(repositories_below(root, most)) == most


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert repositories_below(tmp_path, 10) == []


def test_what_git_makes_is_found(tmp_path: Path) -> None:
    make_repository(tmp_path / "root" / "app.git")
    Git(tmp_path / "home")("init", "--quiet", str(tmp_path / "root" / "work"))
    assert git_directory(tmp_path / "root", ("app",)) == "app.git"
    assert git_directory(tmp_path / "root", ("work",)) == "work/.git"


def test_what_has_another_inside_is_not_the_one_that_git_would_take(tmp_path: Path) -> None:
    """Whoever may push to the work tree's branch could make the outer one, with a configuration."""
    work = make_repository(tmp_path / "root" / "work" / ".git")
    make_repository(tmp_path / "root" / "work", commits=0)
    assert git_directory(tmp_path / "root", ("work",)) == "work/.git"
    bare = make_repository(tmp_path / "root" / "app.git")
    (bare / ".git").write_text(f"gitdir: {work}\n")
    assert git_directory(tmp_path / "root", ("app",)) is None


@pytest.mark.parametrize("inside", [".", ".git"])
async def test_check_tells_a_repository_from_a_folder_of_them(tmp_path: Path, inside: str) -> None:
    bare(tmp_path / "app" / inside)
    found = await HttpBackend(tmp_path / "app", CONFIG, Answers(CONFIG)).check()
    assert not found.ok
    assert found.detail == f"it is itself a repository; name the folder {tmp_path}"


async def test_check_has_git_read_a_repository(tmp_path: Path) -> None:
    backend = HttpBackend(tmp_path, CONFIG, Answers(CONFIG))
    empty = await backend.check()
    assert (empty.ok, empty.detail) == (True, "no repository in it yet")
    make_repository(tmp_path / "team" / "app.git")
    good = await backend.check()
    assert (good.ok, good.detail) == (True, "1 repositories, team/app.git can be read")
    (tmp_path / "team" / "app.git" / "HEAD").write_text("nonsense\n")
    bad = await backend.check()
    assert not bad.ok
    assert bad.detail.startswith("git can't read team/app.git: fatal: ")
    await backend.close()


def test_the_program_is_gits_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert os.access(http_backend_program(), os.X_OK)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="git is not installed, or not on the search path"):
        http_backend_program()


@pytest.mark.parametrize(
    ("ref", "is_it"),
    [
        ("refs/heads/main", False),
        ("refs/heads/packed", False),
        ("refs/heads/not/there", False),
        ("refs/heads/main/below", False),
        ("refs/heads", False),
        ("refs/heads/" + "x" * 300, False),
        ("refs/heads/alias", True),
        ("refs/heads/dangling", True),
        ("refs/heads/link", True),
        ("refs/linked/main", True),
    ],
)
def test_what_stands_for_another_ref_is_seen(tmp_path: Path, ref: str, is_it: bool) -> None:
    repository = make_repository(tmp_path / "app.git")
    git = Git(tmp_path / "home")
    git("branch", "packed", "main", cwd=repository)
    git("pack-refs", "--all", "--prune", cwd=repository)
    git("update-ref", "refs/heads/main", "packed", cwd=repository)
    git("symbolic-ref", "refs/heads/alias", "refs/heads/main", cwd=repository)
    git("symbolic-ref", "refs/heads/dangling", "refs/heads/nothing", cwd=repository)
    (repository / "refs/heads/link").symlink_to("main")
    (repository / "refs/linked").symlink_to("heads")
    assert symbolic_refs(repository)(ref.encode()) is is_it


def test_a_repository_whose_refs_are_a_link_has_refs_as_any_other(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "app.git")
    (repository / "refs").rename(tmp_path / "refs")
    (repository / "refs").symlink_to(tmp_path / "refs")
    assert not symbolic_refs(repository)(b"refs/heads/main")
