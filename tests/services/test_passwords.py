"""Hashes of passwords: of all kinds that are taken over, off the event loop, and not too many."""

import asyncio
import threading
import time

import bcrypt
import pytest

from gitpat_proxy.services import passwords as service
from gitpat_proxy.services.passwords import BusyError, Passwords, is_usable_hash
from tests.services.conftest import PASSWORDS
from tests.services.signing_in import HTPASSWD, PASSWORD, WRONG


async def test_a_new_password_is_kept_by_argon2id_with_a_salt_of_its_own() -> None:
    hashed = [await PASSWORDS.hash(PASSWORD) for _ in range(2)]
    # OWASP's Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
    assert all(text.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for text in hashed)
    assert hashed[0] != hashed[1]
    assert all(map(is_usable_hash, hashed))
    for text in hashed:
        assert await PASSWORDS.verify(PASSWORD, text) == (True, None)
        assert await PASSWORDS.verify(WRONG, text) == (False, None)


@pytest.mark.parametrize("kind", HTPASSWD)
async def test_what_htpasswd_made_fits_and_is_replaced(kind: str) -> None:
    hashed = HTPASSWD[kind]
    assert is_usable_hash(hashed)
    fits, replacement = await PASSWORDS.verify(PASSWORD, hashed)
    assert fits
    assert replacement
    assert replacement.startswith("$argon2id$")
    assert await PASSWORDS.verify(PASSWORD, replacement) == (True, None)
    assert await PASSWORDS.verify("x" + PASSWORD, hashed) == (False, None)
    assert await PASSWORDS.verify("", hashed) == (False, None)


def test_what_looks_at_eight_characters_alone_is_not_taken() -> None:
    """DES crypt, Apache's oldest; a plain password of thirteen letters looks the same."""
    assert not is_usable_hash("BDASdi7tgyNLk")


async def test_argon2_with_other_numbers_is_replaced_as_well() -> None:
    weaker = service._context().using(argon2__memory_cost=8, argon2__time_cost=1)
    fits, replacement = await PASSWORDS.verify(PASSWORD, weaker.hash(PASSWORD))
    assert fits
    assert replacement
    assert replacement.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "!",
            "*",
            "x",
            "correct horse",
            "$1$salt$hash",
            "$y$j9T$abc$def",
            "realm:0123456789abcdef",
        ],
        *["$2y$", "$2y$05$", "$2y$garbage", HTPASSWD["bcrypt"][:-1], HTPASSWD["bcrypt"][:29]],
        *["$apr1$", "$apr1$salt", HTPASSWD["apr1"][:-1], HTPASSWD["apr1"] + "x"],
        *["$5$", "$6$x", HTPASSWD["sha512-crypt"][:-1], HTPASSWD["sha256-crypt"] + "x"],
        *[
            "$argon2id$x",
            "$argon2id$m=8,t=1,p=1$v=19$AAAA",
            "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22,
        ],
        *["BDASdi7tgyNL", "BDASdi7tgyNLk."],
    ],
)
async def test_what_is_no_whole_hash_is_told_and_fits_nothing(text: str) -> None:
    assert not is_usable_hash(text)
    assert await PASSWORDS.verify(PASSWORD, text) == (False, None)
    assert await PASSWORDS.verify(text, text) == (False, None)


async def test_what_a_hash_can_not_have_been_made_from_is_wrong_and_no_error() -> None:
    long = "0123456789" * 7
    of_70 = bcrypt.hashpw(long.encode(), bcrypt.gensalt(4)).decode()
    assert (await PASSWORDS.verify(long, of_70))[0]
    for hashed in (of_70, *HTPASSWD.values(), await PASSWORDS.hash(PASSWORD), None):
        for password in (long + "abc", "x" * 5000, f"{PASSWORD}\0", f"{PASSWORD}\0x", "\0", "\udcff"):
            assert await PASSWORDS.verify(password, hashed) == (False, None), (password, hashed)


async def test_without_a_hash_it_is_wrong_whatever_is_typed() -> None:
    for password in ("", "x", PASSWORD, "A" * 43):
        assert await PASSWORDS.verify(password, None) == (False, None)


async def test_without_a_hash_it_takes_as_long() -> None:
    def seconds(hashed: str | None) -> float:
        """Return the work of the cheapest of some tries: the machine has other things to do."""
        taken = []
        for _ in range(9):
            began = time.thread_time()
            assert service._verify(WRONG, hashed) == (False, None)
            taken.append(time.thread_time() - began)
        return min(taken)

    assert 0.6 < seconds(None) / seconds(await PASSWORDS.hash(PASSWORD)) < 1.7


class Gate:
    """Stands where a hash is looked at; knows how many are in at a time, and lets them go on."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.inside = self.most = 0
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, password: str, hashed: str | None) -> tuple[bool, None]:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads.add(threading.current_thread().name)
        self.entered.release()
        assert self.open.wait(30)
        with self._lock:
            self.inside -= 1
        if password == "fails":
            raise RuntimeError
        return True, None


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(service, "_verify", gate)
    return gate


async def test_two_are_looked_at_at_once_off_the_event_loop(gate: Gate) -> None:
    passwords = Passwords()
    tries = [asyncio.create_task(passwords.verify(PASSWORD, None)) for _ in range(8)]
    for _ in range(2):
        assert await asyncio.to_thread(gate.entered.acquire, timeout=30)
    # The loop is free, and nobody else comes in.
    assert not await asyncio.to_thread(gate.entered.acquire, timeout=0.1)
    gate.open.set()
    assert await asyncio.gather(*tries) == [(True, None)] * 8
    assert gate.most == 2
    assert all(name.startswith("password") for name in gate.threads)


async def test_whoever_comes_when_too_many_wait_is_told_so(gate: Gate) -> None:
    passwords = Passwords()
    waiting = [asyncio.create_task(passwords.verify("fails", None)) for _ in range(50)]
    await asyncio.sleep(0)
    for late in (passwords.verify(PASSWORD, None), passwords.hash(PASSWORD)):
        with pytest.raises(BusyError, match="too many people are signing in at the moment; try again"):
            await asyncio.wait_for(late, 10)
    gate.open.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {RuntimeError}
    # However it ended, their place is free again.
    assert await passwords.verify(PASSWORD, None) == (True, None)


async def test_whoever_goes_away_leaves_the_place_free(gate: Gate) -> None:
    passwords = Passwords()
    waiting = [asyncio.create_task(passwords.verify(PASSWORD, None)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    gate.open.set()
    assert await passwords.verify(PASSWORD, None) == (True, None)
