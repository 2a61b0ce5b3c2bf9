"""What was done to the audit behind its back shows, and what was pruned leaves the rest in order."""

from datetime import timedelta

import pytest

from gitpat_proxy.access.model import AuditEvent, AuditFilter
from gitpat_proxy.services import audit as service
from gitpat_proxy.services.audit import Verification, prune, search, verify
from gitpat_proxy.services.errors import ServiceError
from gitpat_proxy.store import audit as store
from gitpat_proxy.store.database import Database
from tests.access.examples import NOW

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_VERIFIED_AT_ONCE", 3)
    monkeypatch.setattr(service, "_PRUNED_AT_ONCE", 2)


async def write(database: Database, *days: int) -> None:
    events = [AuditEvent(NOW + day * DAY, "push", "alice", details={"day": day}) for day in days]
    async with database.writing() as connection:
        await connection.run_sync(store.insert, events)


async def behind_its_back(database: Database, statement: str) -> None:
    async with database.writing() as connection:
        await connection.exec_driver_sql(statement)


async def days(database: Database) -> list[object]:
    return [event.details["day"] for _, event in await search(database, AuditFilter())]


async def test_an_empty_audit_is_in_order(database: Database) -> None:
    assert await verify(database) == Verification(0, 0, "00" * 32, None)


async def test_what_was_written_is_in_order(database: Database) -> None:
    await write(database, *range(5))
    await write(database, 5, 6)
    found = await verify(database)
    assert (found.events, found.last_id, found.broken) == (7, 7, None)
    await write(database, 7)
    assert (await verify(database, (7, found.digest))).broken is None


@pytest.mark.parametrize(
    ("done", "right", "broken"),
    [
        ("UPDATE audit SET account = 'bob' WHERE id = 4", 3, "the record 4 of"),
        ("UPDATE audit SET at = at + 1 WHERE id = 1", 0, "the record 1 of"),
        ("""UPDATE audit SET details = '{"day": 9}' WHERE id = 7""", 6, "the record 7 of"),
        ("UPDATE audit SET chain = NULL WHERE id = 2", 1, "the record 2 of"),
        ("DELETE FROM audit WHERE id = 5", 4, "records are missing between 4 and 6"),
        ("DELETE FROM audit WHERE id < 3", 0, "records are missing between 0 and 3"),
        ("INSERT INTO audit (id, at, event, details) VALUES (8, 0, 'push', '{}')", 7, "the record 8 of"),
    ],
)
async def test_what_was_done_behind_its_back_is_named(
    database: Database, done: str, right: int, broken: str
) -> None:
    await write(database, *range(7))
    await behind_its_back(database, done)
    found = await verify(database)
    assert found.events == right
    assert found.broken is not None
    assert found.broken.startswith(broken)


async def test_what_is_missing_at_the_end_shows_by_what_was_noted(database: Database) -> None:
    await write(database, *range(7))
    noted = await verify(database)
    place = (noted.last_id, noted.digest)
    await behind_its_back(database, "DELETE FROM audit WHERE id > 5")
    assert (await verify(database)).broken is None
    assert (await verify(database, place)).broken == "the record 7, which was noted, is missing"
    await write(database, 8, 9, 10)
    assert (await verify(database)).broken is None
    found = await verify(database, place)
    assert found.broken == "the record 7 is another than the one that was noted"


async def test_what_is_pruned_is_gone_and_the_rest_in_order(database: Database) -> None:
    await write(database, *range(7))
    whole = await verify(database)
    assert await prune(database, NOW + 3 * DAY) == 3
    assert await prune(database, NOW + 3 * DAY) == 0
    assert await days(database) == [3, 4, 5, 6]
    found = await verify(database)
    assert (found.events, found.digest, found.broken) == (4, whole.digest, None)
    with pytest.raises(ServiceError, match="the record 2 has been pruned; note a newer one"):
        await verify(database, (2, "00" * 32))
    await behind_its_back(database, "DELETE FROM audit WHERE id = 4")
    assert (
        await verify(database)
    ).broken == "records are missing between 3 and 5 (2026-03-18 15:09 UTC)"


async def test_when_all_is_pruned_the_chain_goes_on(database: Database) -> None:
    await write(database, *range(4))
    end = await verify(database)
    assert await prune(database, NOW + 100 * DAY) == 4
    await write(database, 200, 201)
    found = await verify(database)
    assert (found.events, found.last_id, found.broken) == (2, 6, None)
    assert end.digest != found.digest


async def test_a_clock_that_was_put_back_leaves_one_piece(database: Database) -> None:
    """A record from before the time stays, if one that must stay was written before it."""
    await write(database, 0, 5, 1, 6)
    assert await prune(database, NOW + 3 * DAY) == 1
    assert (await verify(database)).broken is None
    assert sorted(map(str, await days(database))) == ["1", "5", "6"]
