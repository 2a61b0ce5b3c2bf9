"""Answers that several get: who joins, what is kept for how long, what is forgotten and when."""

import asyncio
import gc
import os
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitpat_proxy.access.refusal import Code, RefusedError, refuse
from gitpat_proxy.backends import changes
from gitpat_proxy.backends.answers import Answers, Production, Question
from gitpat_proxy.backends.base import AnswerCutError, FilePart, Piece, bytes_of
from gitpat_proxy.backends.fingerprint import Fingerprint, Installation, fingerprint_of
from gitpat_proxy.backends.http_backend import answer_of
from gitpat_proxy.config.model import Config, Limits
from tests.backends.test_changes import watches

NAME = "/srv/git/app"
SHORT = os.urandom(30_000)
LONG = os.urandom(400_000)
SPOOL_BYTES = 10_000_000


def ask(content: bytes | int = b"", *, refs: bool = True) -> Question:
    content = content if isinstance(content, bytes) else str(content).encode()
    return Question("git-upload-pack", "", "version=2", content, is_about_refs=refs)


PACK = ask(b"want", refs=False)


class Source:
    """Gives its content, with a stop after so many bytes, until `go_on`.

    `is_at_once`: nothing of it has to be waited for, as where the pipe is never empty.
    """

    def __init__(self, content: bytes, stop: int | None = None, *, is_at_once: bool = False) -> None:
        self._left, self._until_stop = content, stop or 0
        self._is_at_once = is_at_once
        self.go_on = asyncio.Event()
        self.has_stopped = asyncio.Event()
        if stop is None:
            self.go_on.set()

    async def read(self, most: int) -> bytes:
        most = await self._ready(most)
        piece, self._left = self._left[:most], self._left[most:]
        return piece

    async def move(self, descriptor: int, offset: int, most: int) -> int:
        most = await self._ready(most)
        piece, self._left = self._left[:most], self._left[most:]
        return os.pwrite(descriptor, piece, offset)

    async def _ready(self, most: int) -> int:
        if not self._is_at_once:
            await asyncio.sleep(0)
        if not self._until_stop and not self.go_on.is_set():
            self.has_stopped.set()
            await self.go_on.wait()
        most = most if self.go_on.is_set() else min(most, self._until_stop)
        self._until_stop -= min(most, self._until_stop)
        return most


class Shop:
    """Answers, and the repository that they are about."""

    def __init__(self, folder: Path, memory: int, seconds: Any, spool_bytes: int) -> None:
        self.repository = folder / "app.git"
        for part in ("objects", "refs/heads"):
            (self.repository / part).mkdir(parents=True, exist_ok=True)
        self.change()
        (folder / "spool").mkdir(exist_ok=True)
        self.spool_bytes = spool_bytes
        self.answers = Answers(
            Config.model_construct(
                limits=Limits(spool_bytes=spool_bytes),
                workers=1,
                spool=folder / "spool",
                ref_cache_bytes=memory,
                pack_cache_seconds=seconds,
            )
        )
        self.made: list[Question] = []

    def change(self) -> None:
        (self.repository / "HEAD").write_text("ref: refs/heads/main\n")

    def fingerprint(self) -> Fingerprint:
        """Return what is there now, as if it had been so for long."""
        seen = fingerprint_of(self.repository.parent, "app.git", [], Installation((), ()))
        return replace(seen, taken_at=seen.taken_at + 10_000_000_000)

    def begin(self, question: Question, source: Source, *, is_good: bool = True) -> Production:
        """Begin to make an answer, in the steps of HttpBackend."""
        production = Production(self.answers.spool)
        self.answers.offer(NAME, self.fingerprint(), question, production)

        async def make() -> None:
            try:
                production.begin({})
                await production.output.fill(source)
                production.output.end()
                production.is_good = is_good
            finally:
                production.output.end(AnswerCutError("nobody wants it any more"))
                self.answers.made(NAME, question, production)

        production.start(make())
        self.made.append(question)
        return production

    async def get(
        self, question: Question, content: bytes = SHORT, *, is_good: bool = True
    ) -> Production:
        """Return what is kept, or make it; either way it is read to its end."""
        production = self.answers.find(NAME, question)
        production = production or self.begin(question, Source(content), is_good=is_good)
        assert await taken(production) == content
        await asyncio.sleep(0)
        return production

    async def asked_again(self, *questions: Question, content: bytes = SHORT) -> list[Question]:
        """Return what had to be made when these were asked."""
        self.made.clear()
        for question in questions:
            await self.get(question, content)
        return list(self.made)

    def free_space(self) -> int:
        """Return what can be had of the spool, once nothing of it is kept."""
        self.answers.close()
        room = self.answers.spool.take(self.spool_bytes)
        self.answers.spool.give_back(room)
        return room


async def taken(production: Production) -> bytes:
    async with production.used() as pieces:
        return b"".join([bytes_of(piece) async for piece in pieces])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Open shops that are closed in the end, as a file that is kept stays open."""
    opened: list[Shop] = []

    def open_shop(memory: int = 1_000_000, seconds: float = 60, spool_bytes: int = SPOOL_BYTES) -> Shop:
        opened.append(Shop(tmp_path, memory, seconds, spool_bytes))
        return opened[-1]

    yield open_shop
    for each in opened:
        each.answers.close()


Open = Callable[..., Shop]


# What is kept


@pytest.mark.parametrize(("question", "content"), [(ask(), SHORT), (ask(), LONG), (PACK, LONG)])
async def test_what_was_made_is_given_again(shop: Open, question: Question, content: bytes) -> None:
    here = shop()
    await here.get(question, content)
    assert await here.asked_again(question, question, content=content) == []
    assert here.free_space() == SPOOL_BYTES


@pytest.mark.parametrize(
    "other",
    [
        ask(b"x")._replace(endpoint="info/refs"),
        ask(b"x")._replace(query="service=git-upload-pack"),
        ask(b"x")._replace(protocol=""),
        ask(b"x")._replace(digest=b"y"),
        ask(b"x")._replace(digest=b""),
    ],
)
async def test_what_differs_in_anything_is_another_question(shop: Open, other: Question) -> None:
    here = shop()
    await here.get(ask(b"x"))
    assert await here.asked_again(other) == [other]


async def test_another_repository_is_not_mixed_up_with_it(shop: Open) -> None:
    here = shop()
    await here.get(ask())
    assert here.answers.find(f"{NAME}2", ask()) is None


@pytest.mark.parametrize("question", [ask(), PACK])
async def test_a_change_makes_all_of_it_forgotten(shop: Open, question: Question) -> None:
    here = shop()
    await here.get(question)
    await here.get(ask(b"other"))
    here.change()
    assert await here.asked_again(question, ask(b"other")) == [question, ask(b"other")]


async def test_a_change_while_it_is_made_makes_it_forgotten(shop: Open) -> None:
    here, source = shop(), Source(SHORT, 1000)
    production = here.begin(ask(), source)
    reading = asyncio.create_task(taken(production))
    await source.has_stopped.wait()
    here.change()
    source.go_on.set()
    assert await reading == SHORT
    assert await here.asked_again(ask()) == [ask()]


async def test_who_comes_after_a_change_does_not_join_what_began_before(shop: Open) -> None:
    here, source = shop(), Source(SHORT, 1000)
    reading = asyncio.create_task(taken(here.begin(ask(), source)))
    await source.has_stopped.wait()
    here.change()
    assert here.answers.find(NAME, ask()) is None
    assert await here.asked_again(ask()) == [ask()]
    source.go_on.set()
    assert await reading == SHORT
    # The older one, which ends later, does not take the place of the newer.
    assert await here.asked_again(ask()) == []


async def test_what_is_too_young_is_not_relied_upon(shop: Open) -> None:
    here = shop()
    production = Production(here.answers.spool)
    seen = fingerprint_of(here.repository.parent, "app.git", [], Installation((), ()))
    here.answers.offer(NAME, seen, ask(), production)
    assert here.answers.find(NAME, ask()) is None


async def test_what_git_complained_of_is_not_kept(shop: Open) -> None:
    here = shop()
    await here.get(ask(), is_good=False)
    assert await here.asked_again(ask()) == [ask()]


# Bounds


async def test_what_was_used_longest_ago_goes_first(shop: Open) -> None:
    here = shop(memory=4 * 35_000)
    for number in range(4):
        await here.get(ask(number))
    await here.get(ask(0))
    await here.get(ask(4))
    assert await here.asked_again(ask(0), ask(2), ask(3), ask(4)) == []
    assert await here.asked_again(ask(1)) == [ask(1)]


async def test_an_answer_larger_than_the_memory_does_not_stay(shop: Open) -> None:
    here = shop(memory=20_000)
    await here.get(ask(1))
    await here.get(ask(2))
    assert await here.asked_again(ask(1)) == [ask(1)]


async def test_the_memory_is_given_back_by_what_is_forgotten(shop: Open) -> None:
    """However often the repository has changed, as much is kept as at first."""
    here = shop(memory=4 * 35_000)
    for _ in range(50):
        here.change()
        await here.get(ask(1))
        await here.get(ask(2))
    assert await here.asked_again(ask(1), ask(2)) == []


async def test_no_more_than_five_hundred_large_ones_are_kept(shop: Open) -> None:
    here = shop()
    for number in range(520):
        await here.get(ask(number, refs=False), b"tiny")
    assert here.answers.find(NAME, ask(19, refs=False)) is None
    assert here.answers.find(NAME, ask(20, refs=False))
    assert here.free_space() == SPOOL_BYTES


@pytest.mark.parametrize("reason", ["changed", "driven out"])
async def test_what_is_forgotten_takes_no_memory(shop: Open, reason: str) -> None:
    """Not even until its time is over: small fetches may come and go by the thousand."""
    here = shop(seconds=300)
    production = weakref.ref(await here.get(PACK))
    if reason == "changed":
        here.change()
        assert here.answers.find(NAME, PACK) is None
    else:
        assert here.answers.make_room()
    await asyncio.sleep(0)
    gc.collect()
    assert production() is None


async def test_what_is_forgotten_is_watched_no_more(
    shop: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(changes, "_WORTH_FILES", 1)
    monkeypatch.setattr(changes, "_telling_devices", lambda _mounts: {tmp_path.stat().st_dev})
    here = shop()
    await here.asked_again(ask(1), ask(2), ask(1), ask(2))
    assert watches(here.answers._changes) > 0
    here.change()
    assert here.answers.find(NAME, ask(1)) is None
    assert watches(here.answers._changes) == 0


async def test_a_pack_is_kept_for_its_time(shop: Open) -> None:
    here = shop(seconds=0.2)
    await here.get(PACK, LONG)
    assert await here.asked_again(PACK, content=LONG) == []
    await asyncio.sleep(0.3)
    assert here.answers.find(NAME, PACK) is None
    assert here.answers.spool.take(SPOOL_BYTES) == SPOOL_BYTES


async def test_a_pack_whose_time_is_over_is_left_to_who_reads_it(shop: Open) -> None:
    here = shop(seconds=0.1)
    production = await here.get(PACK, LONG)
    async with production.used() as pieces:
        got = bytes_of(await anext(pieces))
        await asyncio.sleep(0.2)
        assert here.answers.find(NAME, PACK) is None
        got += b"".join([bytes_of(piece) async for piece in pieces])
    assert got == LONG
    assert here.answers.spool.take(SPOOL_BYTES) == SPOOL_BYTES


async def test_room_is_made_by_what_nobody_uses(shop: Open) -> None:
    here = shop(spool_bytes=500_000)
    first, second = ask(1, refs=False), ask(2, refs=False)
    production = await here.get(first, LONG)
    async with production.used():
        await here.get(second, LONG[::-1])
        assert here.answers.find(NAME, first) is production
    await here.get(second, LONG[::-1])
    assert here.answers.find(NAME, first) is None
    assert here.answers.find(NAME, second)
    assert here.free_space() == 500_000


async def test_what_found_no_room_keeps_none(shop: Open) -> None:
    """It can't be given again, so what there is of it would only drive out others."""
    here = shop(spool_bytes=100_000)
    await here.get(PACK, LONG)
    assert not here.answers.make_room()


# Who joins, and who leaves


async def test_who_asks_meanwhile_gets_the_same(shop: Open) -> None:
    here, source = shop(), Source(LONG, 100_000)
    first = asyncio.create_task(taken(here.begin(PACK, source)))
    await source.has_stopped.wait()
    others = [asyncio.create_task(here.get(PACK, LONG)) for _ in range(5)]
    await asyncio.sleep(0)
    source.go_on.set()
    assert await first == LONG
    await asyncio.gather(*others)
    assert here.made == [PACK]


async def test_who_joins_waits_for_the_end_but_not_for_long(shop: Open) -> None:
    """A client that joins gets all as a whole, with its length, where git ends soon."""
    here = shop()
    source = Source(LONG, stop=100_000)
    production = here.begin(PACK, source)
    await source.has_stopped.wait()
    async with answer_of(production, 0.01) as answer:
        assert "Content-Length" not in answer.headers
        assert not production.output.is_over
        asyncio.get_running_loop().call_soon(source.go_on.set)
        async with answer_of(production, 60) as other:
            assert other.headers["Content-Length"] == str(len(LONG))
            assert b"".join([bytes_of(piece) async for piece in other.body]) == LONG
        assert b"".join([bytes_of(piece) async for piece in answer.body]) == LONG


async def test_only_what_is_whole_and_current_is_found_as_such(shop: Open) -> None:
    here = shop()
    source = Source(LONG, stop=100_000)
    production = here.begin(PACK, source)
    async with production.used() as pieces:
        await source.has_stopped.wait()
        assert here.answers.find(NAME, PACK) is production
        assert here.answers.find_whole(NAME, PACK) is None
        source.go_on.set()
        assert b"".join([bytes_of(piece) async for piece in pieces]) == LONG
    assert here.answers.find_whole(NAME, PACK) is production
    here.change()
    assert here.answers.find_whole(NAME, PACK) is None


async def test_the_first_may_leave(shop: Open) -> None:
    here, source = shop(), Source(LONG, 100_000)
    first = asyncio.create_task(taken(here.begin(PACK, source)))
    await source.has_stopped.wait()
    other = asyncio.create_task(here.get(PACK, LONG))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    source.go_on.set()
    await other
    assert here.made == [PACK]


async def test_the_last_that_leaves_ends_it(shop: Open) -> None:
    here, source = shop(), Source(LONG, 100_000)
    reading = asyncio.create_task(taken(here.begin(PACK, source)))
    await source.has_stopped.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert here.answers.find(NAME, PACK) is None
    assert here.free_space() == SPOOL_BYTES


def dying(here: Shop, begins: bool) -> tuple[Production, asyncio.Event, asyncio.Event]:
    """Begin what takes a moment to end, as git does; return the events of its end, and of the last."""
    production = Production(here.answers.spool)
    here.answers.offer(NAME, here.fingerprint(), PACK, production)
    is_ending, may_end = asyncio.Event(), asyncio.Event()

    async def make() -> None:
        try:
            if begins:
                production.begin({})
                await production.output.fill(Source(LONG, 100_000))
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await may_end.wait()
            production.output.end(AnswerCutError("nobody wants it any more"))
            here.answers.made(NAME, PACK, production)

    production.start(make())
    return production, is_ending, may_end


@pytest.mark.parametrize("begins", [False, True])
async def test_what_is_being_ended_is_not_joined(shop: Open, begins: bool) -> None:
    """Who asks as the last one leaves is not cut off with it, nor left to wait for ever."""
    here = shop()
    production, is_ending, may_end = dying(here, begins)
    reading = asyncio.create_task(taken(production))
    await asyncio.sleep(0.01)
    reading.cancel()
    await is_ending.wait()
    found = here.answers.find(NAME, PACK)
    joining = asyncio.create_task(taken(found)) if found else None
    may_end.set()
    if joining:
        async with asyncio.timeout(1):
            with pytest.raises(AnswerCutError):
                await joining
    await asyncio.wait([reading])
    assert found is None
    assert await here.asked_again(PACK, content=LONG) == [PACK]


async def beginning_of(production: Production) -> AsyncIterator[Piece]:
    """Yield what there is of it so far."""
    async with asyncio.timeout(1):
        async with production.used() as pieces:
            async for piece in pieces:
                yield piece
                if isinstance(piece, FilePart):
                    return


async def test_a_file_is_not_closed_while_it_is_written(shop: Open) -> None:
    """A thread of the proxy's may be at it, and its number become another file's."""
    here = shop()
    production, is_ending, may_end = dying(here, begins=True)
    reading = asyncio.create_task(taken(production))
    await asyncio.sleep(0.01)
    [part] = [p async for p in beginning_of(production) if isinstance(p, FilePart)]
    reading.cancel()
    await is_ending.wait()
    here.change()
    here.answers.find(NAME, PACK)
    try:
        os.fstat(part.descriptor)
    finally:
        may_end.set()
        await asyncio.wait([reading])
    assert here.free_space() == SPOOL_BYTES


async def failing(production: Production, error: Exception) -> None:
    production.fail(error)
    production.output.end(AnswerCutError("failed"))


async def test_a_failure_is_told_to_all_and_not_kept(shop: Open) -> None:
    here = shop()
    production = Production(here.answers.spool)
    here.answers.offer(NAME, here.fingerprint(), PACK, production)
    go_on = asyncio.Event()

    async def make() -> None:
        await go_on.wait()
        production.fail(RefusedError(refuse(Code.UPSTREAM_TIMEOUT)))
        production.output.end(AnswerCutError("it failed"))
        here.answers.made(NAME, PACK, production)

    production.start(make())
    waiting = [asyncio.create_task(taken(production)) for _ in range(3)]
    joined = here.answers.find(NAME, PACK)
    assert joined is production
    waiting.append(asyncio.create_task(taken(joined)))
    await asyncio.sleep(0)
    go_on.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [RefusedError] * 4
    assert await here.asked_again(PACK, content=LONG) == [PACK]


async def test_a_failure_that_nobody_waits_for_is_no_trouble(shop: Open) -> None:
    production = Production(shop().answers.spool)
    making: Coroutine[None, None, None] = failing(production, RuntimeError("unseen"))
    await production.start(making)
    del production
    gc.collect()


async def test_what_finds_no_room_is_made_anew_and_gives_all_back(shop: Open) -> None:
    """Without space the first can't be joined; both, and what both took, are gone in the end."""
    here = shop(spool_bytes=100_000)
    source = Source(LONG, 300_000)
    first = asyncio.create_task(taken(here.begin(PACK, source)))
    await source.has_stopped.wait()
    assert here.answers.find(NAME, PACK) is None
    await here.get(PACK, LONG)
    source.go_on.set()
    assert await first == LONG
    assert here.free_space() == 100_000


async def test_who_waited_from_the_beginning_misses_nothing_without_room(shop: Open) -> None:
    """git may have much to give before those who wait for its first word have heard of it."""
    here = shop(spool_bytes=1)
    production = here.begin(PACK, Source(LONG, is_at_once=True))
    with ExitStack() as reading:
        readers = [reading.enter_context(production.output.read()) for _ in range(3)]
        assert await asyncio.gather(*map(all_of, readers)) == [LONG] * 3
    production.close_if_unused()


async def all_of(pieces: AsyncIterator[Piece]) -> bytes:
    return b"".join([bytes_of(piece) async for piece in pieces])


async def test_nothing_is_kept_once_closed(shop: Open) -> None:
    here = shop()
    await here.get(PACK, LONG)
    await here.get(ask())
    here.answers.close()
    assert here.answers.find(NAME, PACK) is None
    assert here.answers.find(NAME, ask()) is None


@pytest.mark.parametrize(("memory", "seconds"), [(0, 60), (1_000_000, 0), (0, 0)])
async def test_each_kind_is_kept_only_where_it_may_be(shop: Open, memory: int, seconds: int) -> None:
    answers = shop(memory=memory, seconds=seconds).answers
    assert (answers.keeps(ask()), answers.keeps(PACK)) == (memory > 0, seconds > 0)
