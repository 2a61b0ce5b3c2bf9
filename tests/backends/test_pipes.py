"""What git writes, on its way into a file without a copy, and what it reads."""

import asyncio
import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from gitpat_proxy.backends.pipes import InputPipe, OutputPipe

LONG = os.urandom(6_000_000)


async def moved(pipe: OutputPipe, descriptor: int, most: int) -> list[int]:
    """Move all there is, so many bytes at once; return how many each time."""
    sizes, offset = [], 0
    while size := await pipe.move(descriptor, offset, most):
        sizes.append(size)
        offset += size
    return sizes


@pytest.mark.parametrize(("piece", "pause"), [(5, 0.0), (65_536, 0.0), (100_000, 0.004)])
async def test_all_of_it_comes_in_its_order(tmp_path: Path, piece: int, pause: float) -> None:
    content = LONG[: 20_000 if piece == 5 else len(LONG)]

    def write(end: int) -> None:
        with os.fdopen(end, "wb", buffering=0) as file:
            for start in range(0, len(content), piece):
                file.write(content[start : start + piece])
                time.sleep(pause)

    with OutputPipe.open() as pipe, (tmp_path / "file").open("w+b") as file:
        assert pipe.childs_end is not None
        writing = threading.Thread(target=write, args=(os.dup(pipe.childs_end),))
        pipe.passed_on()
        writing.start()
        sizes = await moved(pipe, file.fileno(), 2_000_000)
        writing.join()
        assert max(sizes) <= 2_000_000
        assert (tmp_path / "file").read_bytes() == content


async def test_without_a_thread_it_comes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with OutputPipe.open() as pipe, (tmp_path / "file").open("w+b") as file:
        assert pipe.childs_end is not None
        os.write(pipe.childs_end, LONG[:50_000])
        pipe.passed_on()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            assert sum(await moved(pipe, file.fileno(), 20_000)) == 50_000
        assert (tmp_path / "file").read_bytes() == LONG[:50_000]


async def test_a_file_that_takes_nothing(tmp_path: Path) -> None:
    """What was to be moved can still be read."""
    (tmp_path / "file").touch()
    with OutputPipe.open() as pipe, (tmp_path / "file").open("rb") as file:
        assert pipe.childs_end is not None
        os.write(pipe.childs_end, b"content")
        with pytest.raises(OSError, match="Bad file descriptor"):
            await pipe.move(file.fileno(), 0, 100)
        assert await pipe.read() == b"content"


async def test_a_child_that_says_nothing(tmp_path: Path) -> None:
    with OutputPipe.open() as pipe, (tmp_path / "file").open("wb") as file:
        pipe.patience = 0.0
        with pytest.raises(TimeoutError):
            await pipe.move(file.fileno(), 0, 100)


async def test_one_who_waits_no_longer_leaves_nothing_behind(tmp_path: Path) -> None:
    with OutputPipe.open() as pipe, (tmp_path / "file").open("w+b") as file:
        assert pipe.childs_end is not None
        os.write(pipe.childs_end, LONG[:60_000])
        moving = asyncio.create_task(pipe.move(file.fileno(), 0, 100_000))
        await asyncio.sleep(0)
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        # No thread works on the pipe any more.
        before = file.seek(0, os.SEEK_END)
        os.write(pipe.childs_end, b"more")
        await asyncio.sleep(0.05)
        assert file.seek(0, os.SEEK_END) == before


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_long_input_is_written_whole_and_waits_only_at_a_large_pipe(
    is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the user's bound for all pipes it stays small; a wait for each of its few pages is long."""
    waits = []

    def resize(_end: int, _command: int, _size: int) -> None:
        if is_refused:
            raise PermissionError

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(fcntl, "fcntl", resize)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with InputPipe.open() as pipe:
        assert pipe.childs_end is not None
        reading = asyncio.create_task(asyncio.to_thread(read_all, os.dup(pipe.childs_end)))
        pipe.passed_on()
        for start in range(0, len(LONG), 700_000):
            await pipe.write(LONG[start : start + 700_000])
        pipe.close()
        assert await reading == LONG
    assert bool(waits) is not is_refused


def read_all(end: int) -> bytes:
    with os.fdopen(end, "rb", buffering=0) as file:
        pieces = []
        while piece := file.read(4096):
            pieces.append(piece)
        return b"".join(pieces)
