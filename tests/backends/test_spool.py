"""An answer that is given faster than it is taken."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitpat_proxy.backends import spool as module
from gitpat_proxy.backends.spool import Spool, SpooledOutput
from gitpat_proxy.config.model import Config, Limits

PIECES = [bytes([number]) * (1000 + number) for number in range(40)]


def spool_of(folder: Path, size: int = 10_000_000) -> Spool:
    limits = Limits(spool_bytes=size)
    return Spool(Config.model_construct(limits=limits, workers=1, spool=folder))


class Source:
    """Gives its pieces, and tells how many were taken."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.given = 0
        self.ended = asyncio.Event()

    async def __call__(self) -> bytes:
        await asyncio.sleep(0)
        if self.given == len(self.pieces):
            self.ended.set()
            return b""
        self.given += 1
        return self.pieces[self.given - 1]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.01)


def files_open_in(folder: Path) -> list[str]:
    links = [*Path("/proc/self/fd").iterdir()]
    return [
        str(link.readlink())
        for link in links
        if link.is_symlink() and str(folder) in str(link.readlink())
    ]


async def taken(
    source: Callable[[], Awaitable[bytes]], spool: Spool, pause: Callable[[int], Awaitable[object]]
) -> bytes:
    output, got = SpooledOutput(source, spool), b""
    try:
        count = 0
        async for chunk in output.chunks():
            got += chunk
            await pause(count)
            count += 1
    finally:
        await output.close()
    return got


async def test_a_client_that_stops_does_not_hold_the_source(tmp_path: Path) -> None:
    source = Source(PIECES)

    async def until_all_is_given(count: int) -> None:
        if count == 3:
            await asyncio.wait_for(source.ended.wait(), 10)
            assert files_open_in(tmp_path)
            assert all("(deleted)" in name for name in files_open_in(tmp_path)), "a file with a name"

    assert await taken(source, spool_of(tmp_path), until_all_is_given) == b"".join(PIECES)
    assert not files_open_in(tmp_path)


async def test_a_quick_client_costs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 60)

    async def no_pause(_count: int) -> None:
        assert not files_open_in(tmp_path)

    assert await taken(Source(PIECES), spool_of(tmp_path), no_pause) == b"".join(PIECES)


async def test_without_space_the_source_waits_and_nothing_is_lost(tmp_path: Path) -> None:
    source, spool = Source(PIECES), spool_of(tmp_path, 5000)

    async def slow(count: int) -> None:
        if count in {2, 12, 20}:
            before = source.given
            await asyncio.sleep(0.1)
            assert source.given <= before + 6

    assert await taken(source, spool, slow) == b"".join(PIECES)
    assert spool.take(5000), "not all was given back"


async def test_a_folder_that_is_gone_makes_the_source_wait(tmp_path: Path) -> None:
    source = Source(PIECES)

    async def slow(count: int) -> None:
        if count == 1:
            await asyncio.sleep(0.1)
            assert source.given == 2

    assert await taken(source, spool_of(tmp_path / "gone"), slow) == b"".join(PIECES)


async def test_a_disk_that_is_full_makes_the_source_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, write, spool = Source(PIECES), module._write, spool_of(tmp_path)

    def full(file: BinaryIO, data: bytes, position: int) -> None:
        write(file, data[:10], position)
        if position > 4000:
            raise OSError(28, "No space left on device")
        write(file, data, position)

    monkeypatch.setattr(module, "_write", full)

    async def slow(count: int) -> None:
        if count in {2, 30}:
            await asyncio.sleep(0.1)
            assert source.given < len(PIECES)

    assert await taken(source, spool, slow) == b"".join(PIECES)
    assert spool.take(10_000_000)


async def test_a_client_that_leaves_leaves_nothing(tmp_path: Path) -> None:
    source, spool = Source(PIECES), spool_of(tmp_path)
    output = SpooledOutput(source, spool)

    async def leave() -> None:
        async with aclosing(output.chunks()) as chunks:
            async for _ in chunks:
                await asyncio.sleep(3600)

    client = asyncio.create_task(leave())
    await asyncio.wait_for(source.ended.wait(), 10)
    client.cancel()
    await asyncio.wait([client])
    await output.close()
    assert not files_open_in(tmp_path)
    assert spool.take(10_000_000)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.binary(min_size=1, max_size=3000), max_size=12),
    st.sets(st.integers(0, 20)),
    st.integers(1, 20_000),
)
def test_what_comes_out_is_what_went_in(pieces: list[bytes], stops: set[int], size: int) -> None:
    async def run() -> bytes:
        async def pause(count: int) -> None:
            await asyncio.sleep(0.015 if count in stops else 0)

        return await taken(Source(pieces), spool_of(Path("/var/tmp"), size), pause)

    assert asyncio.run(run()) == b"".join(pieces)


async def test_nothing_begins_after_the_end(tmp_path: Path) -> None:
    output = SpooledOutput(Source(PIECES), spool_of(tmp_path))
    async with aclosing(output.chunks()) as chunks:
        await anext(chunks)
        await output.close()
        await asyncio.sleep(0.05)
        assert not files_open_in(tmp_path)


async def test_who_leaves_while_it_is_written_takes_no_space_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, spool = module._write, spool_of(tmp_path, 50_000)
    writing = threading.Event()

    def slow(file: BinaryIO, data: bytes, position: int) -> None:
        writing.set()
        time.sleep(0.05)
        write(file, data, position)

    monkeypatch.setattr(module, "_write", slow)
    output = SpooledOutput(Source(PIECES), spool)
    async with aclosing(output.chunks()) as chunks:
        await anext(chunks)
        await asyncio.to_thread(writing.wait, 10)
        await output.close()
    assert spool.take(50_000)
