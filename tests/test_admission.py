"""Who may begin, and who waits."""

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.refusal import Code, RefusedError
from gitpat_proxy.admission import Admission, Claim, Running, next_of
from gitpat_proxy.config.model import Config, Limits
from gitpat_proxy.shared import Shared

ADA = ip_address("192.0.2.7")
CLAIMS = st.lists(st.builds(Claim, st.sampled_from("abc"), st.sampled_from(["", "x", "y"])), max_size=20)


def admission(shared: Shared | None = None, **limits: Any) -> Admission:
    limits = {"waiting_seconds": 1} | limits
    return Admission(shared or Shared(), Config.model_construct(limits=Limits(**limits)))


async def refusal_of(gate: Admission, token: str, address: str = "192.0.2.7") -> str:
    with pytest.raises(RefusedError) as refused:
        async with gate.place(token, ip_address(address)):
            pass
    assert refused.value.refusal.code is Code.BUSY
    assert refused.value.refusal.retry_after
    return refused.value.refusal.sentence


def counted(claims: list[Claim]) -> Running:
    return Running(Counter(one.token for one in claims), Counter(one.network for one in claims))


@given(CLAIMS, CLAIMS, st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_no_bound_is_passed_and_nobody_waits_without_need(
    waiting: list[Claim], running: list[Claim], operations: int, per_token: int, per_address: int
) -> None:
    limits = Limits(
        operations=operations, operations_per_token=per_token, operations_per_address=per_address
    )
    chosen = next_of(waiting, counted(running), limits, {})
    assert len(set(chosen)) == len(chosen)
    after = list(running)
    for index in chosen:
        after.append(waiting[index])
        assert len(after) <= operations
        assert sum(one.token == waiting[index].token for one in after) <= per_token
        network = waiting[index].network
        assert not network or sum(one.network == network for one in after) <= per_address
    rest = [one for at, one in enumerate(waiting) if at not in chosen]
    assert next_of(rest, counted(after), limits, {}) == []


def test_everybodys_first_comes_before_anybodys_second() -> None:
    waiting = [Claim("a", "x")] * 3 + [Claim("b", "x"), Claim("c", "x")]
    assert next_of(waiting, counted([]), Limits(operations=3), {}) == [0, 3, 4]


async def test_who_waits_gets_the_place_that_becomes_free() -> None:
    gate = admission(operations=1, waiting_seconds=60)
    order: list[str] = []

    async def work(name: str) -> None:
        async with gate.place(name, ADA):
            order.append(name)
            await asyncio.sleep(0)

    async with gate.place("first", ADA):
        tasks = [asyncio.create_task(work(name)) for name in ("a", "a", "b")]
        await asyncio.sleep(0.01)
        assert order == []
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "a"]


async def test_a_place_is_given_back_once() -> None:
    gate = admission(operations=1, waiting_seconds=60)
    async with gate.place("a", ADA) as place:
        place.release()
        async with gate.place("b", ADA):
            place.release()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), gate.place("c", ADA):
                    pass


async def test_those_who_wait_too_long_are_told_whose_bound_it_is() -> None:
    gate = admission(operations=2, operations_per_token=1, operations_per_address=2)
    async with gate.place("a", ADA):
        assert " with the token a;" in await refusal_of(gate, "a")
        async with gate.place("b", ip_address("2001:db8::1")):
            assert "are under way; try again" in await refusal_of(gate, "c")
    gate = admission(operations_per_address=1)
    async with gate.place("a", ADA), gate.place("b", ip_address("2001:db8::1")):
        assert " from the address 192.0.2.7;" in await refusal_of(gate, "c")
        assert " from the address 2001:db8::/64;" in await refusal_of(gate, "c", "2001:db8::2")


async def test_no_more_wait_than_may() -> None:
    gate = admission(operations=1, waiting=1, waiting_seconds=60)
    async with gate.place("a", ADA):
        waiter = asyncio.create_task(refusal_of(gate, "b"))
        await asyncio.sleep(0.01)
        await refusal_of(gate, "c")
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter


async def test_who_has_the_most_waiting_makes_room() -> None:
    gate = admission(operations=1, waiting=2, waiting_seconds=60)
    order: list[str] = []

    async def work(name: str) -> None:
        async with gate.place(name, ADA):
            order.append(name)

    async with gate.place("a", ADA):
        first = asyncio.create_task(work("a"))
        second = asyncio.create_task(refusal_of(gate, "a"))
        await asyncio.sleep(0.01)
        third = asyncio.create_task(work("b"))
        await asyncio.wait([second], timeout=10)
        assert "try again" in second.result()
    await asyncio.gather(first, third)
    assert sorted(order) == ["a", "b"]


async def test_who_leaves_while_waiting_takes_no_place() -> None:
    gate = admission(operations=1, waiting_seconds=60)
    async with gate.place("a", ADA):
        waiter = asyncio.create_task(refusal_of(gate, "b"))
        await asyncio.sleep(0.01)
        waiter.cancel()
    await asyncio.wait([waiter])
    async with asyncio.timeout(1), gate.place("c", ADA):
        pass


async def test_the_bounds_hold_for_all_workers_together(tmp_path: Path) -> None:
    first = admission(Shared(tmp_path / "shared.db"), operations=2)
    shared = Shared(tmp_path / "shared.db")
    second = admission(shared, operations=2)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(first.place("a", ADA))
        await stack.enter_async_context(second.place("b", ADA))
        await refusal_of(first, "c")
        await refusal_of(second, "c")
        shared.forget(os.getpid())  # as if the workers had been killed
        async with second.place("c", ADA), first.place("d", ADA):
            pass


async def test_a_place_that_another_worker_gives_back_is_seen(tmp_path: Path) -> None:
    first = admission(Shared(tmp_path / "shared.db"), operations=1)
    second = admission(Shared(tmp_path / "shared.db"), operations=1, waiting_seconds=60)

    async def work() -> None:
        async with second.place("b", ADA):
            pass

    async with first.place("a", ADA):
        waiter = asyncio.create_task(work())
        await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await waiter
