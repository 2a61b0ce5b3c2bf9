"""A use that is taken by a request which ends at any moment is given back."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gitpat_proxy.git.operation import Kind
from gitpat_proxy.uses import Uses
from tests.access.examples import a_token

EXCHANGE: Any = SimpleNamespace(
    operation=SimpleNamespace(kind=Kind.RPC), token=a_token(uses=1, uses_left=1), may_be_use=True
)


class SlowTokens:
    """Writes only when it is let. A take is then written also where nobody waits for it any more."""

    def __init__(self) -> None:
        self.left = 1
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def take_use(self, token_id: str) -> dict[str, int]:
        self.writing = asyncio.ensure_future(self._write(-1))
        await asyncio.shield(self.writing)
        return {token_id: 1}

    async def give_use_back(self, _taken: object) -> None:
        await self._write(1)

    async def _write(self, change: int) -> None:
        self.asked.set()
        await self.let.wait()
        self.left += change


async def cancel(request: "asyncio.Task[None]") -> None:
    request.cancel()
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_use_that_is_written_as_the_client_leaves_is_given_back(times: int) -> None:
    tokens: Any = SlowTokens()

    async def answer() -> None:
        async with Uses(tokens).counted(EXCHANGE):
            raise AssertionError("the client is gone")

    request = asyncio.create_task(answer())
    await tokens.asked.wait()
    for _ in range(times):
        await cancel(request)
    tokens.let.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    await tokens.writing
    assert tokens.left == 1


async def test_a_use_is_given_back_also_where_the_request_is_cancelled_again() -> None:
    tokens: Any = SlowTokens()
    tokens.let.set()
    is_answering = asyncio.Event()

    async def answer() -> None:
        async with Uses(tokens).counted(EXCHANGE) as use:
            assert use
            tokens.asked.clear()
            tokens.let.clear()
            is_answering.set()
            await asyncio.Event().wait()

    request = asyncio.create_task(answer())
    await is_answering.wait()
    assert tokens.left == 0
    await cancel(request)
    await tokens.asked.wait()
    await cancel(request)
    tokens.let.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert tokens.left == 1
