"""What is done in a thread is done once, or not at all, and it is known which."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gitpat_proxy.threads import in_thread


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


async def test_what_it_returns_or_raises_comes_back(executor: ThreadPoolExecutor) -> None:
    assert await in_thread(executor, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(executor, divmod, 7, 0)
    assert await in_thread(None, threading.current_thread) is not threading.current_thread()


async def test_without_a_thread_it_is_done_neither_now_nor_later(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for number in range(3):
            with pytest.raises(RuntimeError, match="thread"):
                await in_thread(executor, done.append, number)
    await in_thread(executor, done.append, 3)
    assert done == [3]


async def test_who_is_cancelled_knows_what_was_done(executor: ThreadPoolExecutor) -> None:
    go_on, results = threading.Event(), []

    async def work() -> None:
        results.append(await in_thread(executor, go_on.wait))
        await asyncio.sleep(0)
        results.append("more")

    task = asyncio.create_task(work())
    for _ in range(3):
        await asyncio.sleep(0.01)
        task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    go_on.set()
    await asyncio.wait([task])
    assert results == [True]
    assert task.cancelled()


async def test_a_timeout_around_it_is_still_one(executor: ThreadPoolExecutor) -> None:
    go_on = threading.Event()
    asyncio.get_running_loop().call_later(0.05, go_on.set)

    async def work() -> None:
        async with asyncio.timeout(0.01):
            assert await in_thread(executor, go_on.wait)
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await work()
