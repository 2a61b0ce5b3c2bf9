"""Work in a thread that is done once, or not at all, and never without anybody waiting for its end."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Lock
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(
    executor: Executor | None, function: Callable[..., Result], *arguments: object
) -> Result:
    """Run a function in a thread of the executor's, None for the loop's own, and return what it does.

    Raises RuntimeError if there is no thread to be had; it is then not run, nor later. Who is cancelled
    meanwhile is so at the next wait after this one: what has been done is known then.
    """
    done: Future[Result] = Future()
    is_taken = Lock()

    def run() -> None:
        if is_taken.acquire(blocking=False):
            try:
                done.set_result(function(*arguments))
            except BaseException as error:
                # Whatever it is, it is for who waits, who would else wait for ever.
                done.set_exception(error)

    try:
        asyncio.get_running_loop().run_in_executor(executor, run)
    except RuntimeError:
        # It stays in the executor's queue all the same, where any thread may find it later.
        if is_taken.acquire(blocking=False):
            raise
    return await _result_of(asyncio.wrap_future(done))


async def _result_of(running: "asyncio.Future[Result]") -> Result:
    task = asyncio.current_task()
    is_cancelled = False
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            is_cancelled = True
            if task:
                task.uncancel()
    if is_cancelled and task:
        task.cancel()
    return running.result()
