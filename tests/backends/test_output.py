"""What git answers, for as many as want it, as fast as each of them takes it."""

import asyncio
import os
import resource
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitpat_proxy.backends.base import AnswerCutError, FilePart, bytes_of
from gitpat_proxy.backends.output import Output
from gitpat_proxy.backends.spool import Spool
from gitpat_proxy.config.model import Config, Limits

LONG = os.urandom(3_000_000)
SHORT = LONG[:50_000]


def spool_of(folder: Path, size: int = 10_000_000) -> Spool:
    config = Config.model_construct(limits=Limits(spool_bytes=size), workers=1, spool=folder)
    return Spool(config, lambda: False)


class Source:
    """Gives its content in pieces of at most so many bytes."""

    def __init__(self, content: bytes, most: int = 100_000) -> None:
        self.left = content
        self._most = most

    async def read(self, most: int) -> bytes:
        await asyncio.sleep(0)
        piece = self.left[: min(most, self._most)]
        self.left = self.left[len(piece) :]
        return piece

    async def move(self, descriptor: int, offset: int, most: int) -> int:
        await asyncio.sleep(0)
        moved = os.pwrite(descriptor, self.left[: min(most, self._most)], offset)
        self.left = self.left[moved:]
        return moved


async def taken(output: Output, pauses: Sequence[int] = ()) -> bytes:
    got, left = [], iter(pauses)
    with output.read() as pieces:
        async for piece in pieces:
            got.append(bytes_of(piece))
            for _ in range(next(left, 0)):
                await asyncio.sleep(0)
    return b"".join(got)


def has_files(folder: Path) -> bool:
    return any(folder.iterdir())


async def fill(output: Output, source: Source) -> None:
    await output.fill(source)
    output.end()


async def test_a_client_that_stops_does_not_hold_the_source(tmp_path: Path) -> None:
    output, source = Output(spool_of(tmp_path)), Source(LONG)
    with output.read() as pieces:
        filling = asyncio.create_task(fill(output, source))
        first = bytes_of(await anext(pieces))
        await filling
        assert not source.left
        assert first + b"".join([bytes_of(piece) async for piece in pieces]) == LONG
    assert not has_files(tmp_path)
    output.close()


async def test_what_is_short_costs_no_file(tmp_path: Path) -> None:
    output = Output(spool_of(tmp_path / "missing"))
    await fill(output, Source(SHORT))
    assert output.is_whole
    assert output.is_in_memory
    assert output.head == SHORT == await taken(output)


@pytest.mark.parametrize("size", [1, 100_000, 2_000_000])
async def test_without_space_the_source_waits_for_the_slowest(tmp_path: Path, size: int) -> None:
    output, source = Output(spool_of(tmp_path, size)), Source(LONG)
    with output.read() as slow:
        quick = asyncio.create_task(taken(output))
        filling = asyncio.create_task(fill(output, source))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert source.left
        assert not output.can_be_joined
        assert b"".join([bytes_of(piece) async for piece in slow]) == LONG == await quick
    await filling
    output.close()


async def test_a_folder_that_is_gone_makes_the_source_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output(spool_of(tmp_path / "missing"))
    reading = asyncio.create_task(taken(output))
    await asyncio.sleep(0)
    await fill(output, Source(LONG))
    assert await reading == LONG
    assert "spool_failed" in capsys.readouterr().out


async def test_a_file_that_takes_no_more_makes_the_source_wait(tmp_path: Path) -> None:
    output = Output(spool_of(tmp_path))
    reading = asyncio.create_task(taken(output))
    await asyncio.sleep(0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        await fill(output, Source(LONG))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await reading == LONG
    output.close()


async def test_all_space_is_given_back(tmp_path: Path) -> None:
    spool = spool_of(tmp_path, 4_000_000)
    for _ in range(5):
        output = Output(spool)
        await fill(output, Source(LONG))
        assert output.is_whole
        output.close()
        output.close()
    assert spool.take(10_000_000) == 4_000_000


async def test_who_leaves_does_not_hold_the_others(tmp_path: Path) -> None:
    output = Output(spool_of(tmp_path, 1))
    staying = asyncio.create_task(taken(output))
    filling = asyncio.create_task(fill(output, Source(LONG)))
    with output.read() as leaving:
        await anext(leaving)
    assert await staying == LONG
    await filling
    output.close()


async def test_an_end_too_early_is_told_to_all_after_what_there_was(tmp_path: Path) -> None:
    output = Output(spool_of(tmp_path))
    await output.fill(Source(LONG))
    output.end(AnswerCutError("ended by signal 9"))
    output.end()
    with output.read() as pieces:
        size = 0
        while size < len(LONG):
            size += len(await anext(pieces))
        with pytest.raises(AnswerCutError, match="signal 9"):
            await anext(pieces)
    assert not output.can_be_joined
    output.close()


async def test_the_end_of_the_source_is_told_at_once(tmp_path: Path) -> None:
    output, told = Output(spool_of(tmp_path)), []
    output.when_taken(lambda: told.append("first"))
    await output.fill(Source(LONG))
    assert told == ["first"]
    output.when_taken(lambda: told.append("second"))
    assert told == ["first", "second"]
    output.close()


async def test_no_part_of_a_file_is_long(tmp_path: Path) -> None:
    output = Output(spool_of(tmp_path))
    await fill(output, Source(LONG))
    with output.read() as pieces:
        parts = [piece async for piece in pieces if isinstance(piece, FilePart)]
    assert max(part.size for part in parts) == 2 * 1024 * 1024
    output.close()


@settings(max_examples=50)
@given(
    content=st.integers(0, 400_000),
    most=st.integers(1_000, 200_000),
    size=st.integers(1, 500_000),
    pauses=st.lists(st.lists(st.integers(0, 30), max_size=20), min_size=1, max_size=3),
)
def test_what_comes_out_is_what_went_in(
    tmp_path_factory: pytest.TempPathFactory,
    content: int,
    most: int,
    size: int,
    pauses: list[list[int]],
) -> None:
    async def run() -> None:
        output = Output(spool_of(tmp_path_factory.getbasetemp(), size))
        readers = [asyncio.create_task(taken(output, each)) for each in pauses]
        await asyncio.sleep(0)
        await fill(output, Source(LONG[:content], most))
        assert {await reader for reader in readers} == {LONG[:content]}
        output.close()

    asyncio.run(run())
