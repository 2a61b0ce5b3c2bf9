"""How often an address may guess."""

import time
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from gitpat_proxy.access.address import Address
from gitpat_proxy.config.model import Config, Limits
from gitpat_proxy.shared import Shared
from gitpat_proxy.throttle import Throttle

ADA, BOB = IPv4Address("192.0.2.7"), IPv4Address("192.0.2.8")


class Time:
    """A minute's beginning, moved on by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_040.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The library underneath asks no other clock."""
    clock = Time()
    monkeypatch.setattr(time, "time", clock)
    return clock


def throttle_of(unknown_tokens: int) -> Throttle:
    limits = Limits(unknown_tokens=unknown_tokens)
    return Throttle(Shared(), Config.model_construct(limits=limits))


def guess(throttle: Throttle, address: Address | None, *numbers: int) -> list[int | None]:
    return [throttle.count_unknown(address, b"%032d" % number) for number in numbers]


def test_so_many_different_tokens_pass_and_no_more(clock: Time) -> None:
    throttle = throttle_of(3)
    assert guess(throttle, ADA, 1, 2, 3) == [None] * 3
    assert guess(throttle, ADA, 4, 5, 1) == [60] * 3


def test_the_same_token_again_is_no_guess(clock: Time) -> None:
    throttle = throttle_of(2)
    assert guess(throttle, ADA, *[1] * 50) == [None] * 50
    assert guess(throttle, ADA, 2) == [None]
    assert guess(throttle, ADA, 3) != [None]


def test_another_address_is_not_held_up(clock: Time) -> None:
    throttle = throttle_of(1)
    assert guess(throttle, ADA, 1) == [None]
    assert guess(throttle, ADA, 2) != [None]
    assert guess(throttle, BOB, 1) == [None]
    assert guess(throttle, BOB, 2) != [None]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.7", "::192.0.2.7", False),
    ],
)
def test_what_one_customer_has_counts_together(
    clock: Time, first: str, second: str, together: bool
) -> None:
    throttle = throttle_of(1)
    assert guess(throttle, ip_address(first), 1) == [None]
    assert (guess(throttle, ip_address(second), 2) != [None]) == together


def test_after_the_time_told_the_address_may_again(clock: Time) -> None:
    throttle = throttle_of(1)
    guess(throttle, ADA, 1)
    clock.now += 20.5
    [seconds] = guess(throttle, ADA, 2)
    assert seconds == 40
    clock.now += seconds
    assert guess(throttle, ADA, 2) == [None]


def test_asking_while_held_up_does_not_prolong_it(clock: Time) -> None:
    throttle = throttle_of(1)
    guess(throttle, ADA, 1)
    for second in range(59):
        clock.now += 1
        assert guess(throttle, ADA, second) == [59 - second]
    clock.now += 1
    assert guess(throttle, ADA, 99) == [None]


def test_what_is_remembered_is_bounded(clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitpat_proxy.throttle._MOST_REMEMBERED", 50)
    throttle = throttle_of(1)
    guess(throttle, ADA, 1)
    assert guess(throttle, ADA, 2) != [None]
    for number in range(40):
        assert guess(throttle, IPv4Address(0x0A000000 + number), number) == [None]
    assert guess(throttle, ADA, 2) == [None]


def test_a_socket_whose_proxy_names_no_client_is_not_counted(clock: Time) -> None:
    assert guess(throttle_of(1), None, *range(50)) == [None] * 50


def test_an_answer_is_never_less_than_a_second(clock: Time) -> None:
    throttle = throttle_of(1)
    guess(throttle, IPv6Address("::1"), 1)
    clock.now += 59.9
    assert guess(throttle, IPv6Address("::1"), 2) == [1]


def test_a_clock_that_was_ahead_locks_nobody_out(clock: Time) -> None:
    throttle = throttle_of(1)
    clock.now += 10_000
    assert guess(throttle, ADA, 1, 2) == [None, 60]
    clock.now -= 10_000
    assert guess(throttle, ADA, 3, 4) == [None, 60]
