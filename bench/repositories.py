"""The repositories that are served and pushed, made once and kept for the next run.

All content comes from a seeded generator: two machines measure the same bytes.
"""

import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.surroundings import WORK, git_environment

MIB = 1024 * 1024
# Part of the folder's name: one that an older version of this file made is not used.
_VERSION = 1


@dataclass(frozen=True)
class Sizes:
    """How big the repositories are."""

    name: str
    commits: int
    large_mib: int
    references: int
    small_push_mib: int
    large_push_mib: int


FULL = Sizes(
    "full", commits=13_000, large_mib=600, references=20_000, small_push_mib=1, large_push_mib=200
)
QUICK = Sizes(
    "quick", commits=1_000, large_mib=40, references=2_000, small_push_mib=1, large_push_mib=20
)


@dataclass(frozen=True)
class Repositories:
    """What there is: names below `served`, and the folders to push from."""

    sizes: Sizes
    served: Path
    small_push: Path
    large_push: Path
    small: str = "small.git"
    commits: str = "commits.git"
    large: str = "large.git"
    references: str = "references.git"

    def megabytes(self, name: str) -> float:
        """Return the size of a repository's packs: about what a clone transfers."""
        packs = (self.served / name).glob("objects/pack/*.pack")
        return sum(pack.stat().st_size for pack in packs) / 1e6


def repositories(sizes: Sizes) -> Repositories:
    """Return the repositories; make them first if they are not there."""
    folder = WORK / f"repositories-{sizes.name}-{_VERSION}"
    if not folder.exists():
        _make(folder, sizes)
    return Repositories(
        sizes=sizes,
        served=folder / "served",
        small_push=folder / "small-push.git",
        large_push=folder / "large-push.git",
    )


def _make(folder: Path, sizes: Sizes) -> None:
    """Make them beside their place first, so that an interrupted run leaves nothing half made."""
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "served").mkdir(parents=True)
    served = unfinished / "served"
    import_repository(served / "small.git", _small_commits(20))
    import_repository(served / "commits.git", _small_commits(sizes.commits))
    import_repository(served / "large.git", random_files(sizes.large_mib, commits=20))
    import_repository(served / "references.git", many_references(sizes.references))
    import_repository(unfinished / "small-push.git", random_files(sizes.small_push_mib, commits=1))
    import_repository(unfinished / "large-push.git", random_files(sizes.large_push_mib, commits=1))
    unfinished.rename(folder)


def import_repository(repository: Path, stream: Iterator[bytes]) -> None:
    """Make a bare repository of what `git fast-import` reads, packed as a server's maintenance leaves
    it: one pack, with a bitmap, and all refs in one file.
    """
    run_git("init", "--quiet", "--bare", "--initial-branch=main", str(repository))
    inside = ("-C", str(repository), "-c", "core.compression=1")
    command = ["git", *inside, "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=git_environment()) as process:
        if process.stdin is None:
            raise RuntimeError("a pipe was asked for")
        for piece in stream:
            process.stdin.write(piece)
    if process.returncode != 0:
        raise BenchError(f"git fast-import failed in {repository}")
    run_git(*inside, "repack", "-a", "-d", "--write-bitmap-index", "--quiet")
    run_git(*inside, "pack-refs", "--all")


def run_git(*arguments: str) -> None:
    """Run git; raise BenchError with what it said if it fails."""
    result = subprocess.run(
        ["git", *arguments], env=git_environment(), capture_output=True, check=False, text=True
    )
    if result.returncode != 0:
        raise BenchError(f"git {' '.join(arguments)} failed: {result.stderr.strip()}")


def _small_commits(number: int) -> Iterator[bytes]:
    """Commits that each change one file of about a kilobyte, as the history of a program does."""
    generator = random.Random(1)
    for commit in range(number):
        yield _commit("main", commit)
        yield from _file(
            f"src/part-{commit % 40}/file-{commit % 11}.txt", generator.randbytes(700).hex()
        )


def random_files(mebibytes: int, *, commits: int) -> Iterator[bytes]:
    """Files that neither zlib nor deltas make smaller: ten to a MiB in small ones, else one to a MiB."""
    generator = random.Random(mebibytes)
    size = MIB if mebibytes > 10 else MIB // 10
    files = mebibytes * MIB // size
    for file in range(files):
        if file % -(-files // commits) == 0:
            yield _commit("main", file)
        yield from _file(f"data-{file % 16}/file-{file}.bin", generator.randbytes(size))


def many_references(number: int) -> Iterator[bytes]:
    """Yield a short history with so many refs, half of them branches."""
    yield from _small_commits(20)
    for reference in range(number):
        name = f"{'heads' if reference % 2 else 'tags'}/group-{reference % 100}/name-{reference}"
        yield f"reset refs/{name}\nfrom refs/heads/main\n\n".encode()


def _commit(branch: str, number: int) -> bytes:
    message = f"Change number {number}\n"
    return (
        f"commit refs/heads/{branch}\n"
        f"committer Bench <bench@example.org> {1_700_000_000 + number * 60} +0000\n"
        f"data {len(message)}\n{message}"
    ).encode()


def _file(path: str, content: bytes | str) -> Iterator[bytes]:
    content = content.encode() if isinstance(content, str) else content
    yield f"M 100644 inline {path}\ndata {len(content)}\n".encode()
    yield content
    yield b"\n"
