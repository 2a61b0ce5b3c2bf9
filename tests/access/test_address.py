"""From where a request comes, whatever others write into X-Forwarded-For."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.address import client_address, is_within, network_of

LOOPBACK, INNER, INNER6 = "127.0.0.1/32", "10.0.0.0/8", "fd00::/8"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "trusted", "address"),
    [
        # nobody is trusted: the peer, whatever it says
        ("192.0.2.7", [], [], "192.0.2.7"),
        ("192.0.2.7", ["203.0.113.9"], [], "192.0.2.7"),
        ("127.0.0.1", ["203.0.113.9"], [INNER], "127.0.0.1"),
        ("2001:db8::1", [], [], "2001:db8::1"),
        # a trusted proxy in front
        ("127.0.0.1", [], [LOOPBACK], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9"], [LOOPBACK], "203.0.113.9"),
        ("127.0.0.1", [" 203.0.113.9 "], [LOOPBACK], "203.0.113.9"),
        ("127.0.0.1", ["2001:db8::1"], [LOOPBACK], "2001:db8::1"),
        ("127.0.0.1", ["2001:0DB8:0::1"], [LOOPBACK], "2001:db8::1"),
        ("fd00::1", ["203.0.113.9"], [INNER6], "203.0.113.9"),
        # what the client wrote itself stands further left
        ("127.0.0.1", ["10.1.1.1, 203.0.113.9"], [LOOPBACK], "203.0.113.9"),
        ("127.0.0.1", ["10.1.1.1", "203.0.113.9"], [LOOPBACK], "203.0.113.9"),
        ("127.0.0.1", ["127.0.0.1, 203.0.113.9"], [LOOPBACK, INNER], "203.0.113.9"),
        # a chain of trusted ones
        ("127.0.0.1", ["203.0.113.9, 10.0.0.5"], [LOOPBACK, INNER], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9", "10.0.0.5"], [LOOPBACK, INNER], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9", "10.0.0.5, 10.0.0.6"], [LOOPBACK, INNER], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, 192.168.0.5"], [LOOPBACK, INNER], "192.168.0.5"),
        ("127.0.0.1", ["10.0.0.4, 10.0.0.5"], [LOOPBACK, INNER], "10.0.0.4"),
        # IPv4 in IPv6's clothes, and zones
        ("::ffff:192.0.2.7", [], [], "192.0.2.7"),
        ("::ffff:127.0.0.1", ["203.0.113.9"], [LOOPBACK], "203.0.113.9"),
        ("127.0.0.1", ["::ffff:203.0.113.9"], [LOOPBACK], "203.0.113.9"),
        ("fe80::1%eth0", [], [], "fe80::1"),
        # garbage: the last that is known
        ("127.0.0.1", [""], [LOOPBACK], "127.0.0.1"),
        ("127.0.0.1", ["unknown"], [LOOPBACK], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, "], [LOOPBACK], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, garbage, 10.0.0.5"], [LOOPBACK, INNER], "10.0.0.5"),
        ("127.0.0.1", ["203.0.113.9:1234"], [LOOPBACK], "127.0.0.1"),
        ("127.0.0.1", ["[2001:db8::1]"], [LOOPBACK], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9/32", "203.0.113"], [LOOPBACK], "127.0.0.1"),
        # a Unix socket, which only the machine's own proxy can open
        (None, [], [], None),
        (None, [], [LOOPBACK], None),
        (None, ["203.0.113.9"], [], "203.0.113.9"),
        (None, ["198.51.100.1, 203.0.113.9"], [], "203.0.113.9"),
        (None, ["203.0.113.9, 10.0.0.5"], [INNER], "203.0.113.9"),
        (None, ["garbage"], [LOOPBACK], None),
        (None, ["203.0.113.9, garbage"], [LOOPBACK], None),
    ],
)
def test_the_client_is_the_right_most_that_is_not_trusted(
    peer: str | None, forwarded_for: list[str], trusted: list[str], address: str | None
) -> None:
    found = client_address(peer, forwarded_for, [ip_network(network) for network in trusted])
    assert found == (None if address is None else ip_address(address))


def test_the_trusted_may_come_as_an_iterator() -> None:
    trusted = iter([ip_network(LOOPBACK), ip_network(INNER)])
    assert client_address("127.0.0.1", ["203.0.113.9, 10.0.0.5"], trusted) == ip_address("203.0.113.9")


@given(st.lists(st.text()))
def test_what_an_untrusted_peer_writes_never_matters(forwarded_for: list[str]) -> None:
    assert client_address("192.0.2.7", forwarded_for, [ip_network(LOOPBACK)]) == ip_address("192.0.2.7")


@given(st.lists(st.text(alphabet="0123456789abcdef.:,% []")))
def test_what_a_trusted_proxy_writes_is_read_or_left_out(forwarded_for: list[str]) -> None:
    assert client_address("127.0.0.1", forwarded_for, [ip_network(LOOPBACK)]) is not None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("0.0.0.0", "0.0.0.0/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
    ],
)
def test_a_sender_is_an_ipv4_address_or_64_bits_of_an_ipv6_address(address: str, network: str) -> None:
    assert network_of(ip_address(address)) == ip_network(network)


@pytest.mark.parametrize(
    ("peer", "within"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("9.255.255.255", False),
        ("11.0.0.0", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("fe80::1", False),
        (None, False),
        ("", False),
        ("10.0.0.1, 192.0.2.1", False),
        ("10.0.0.1:80", False),
        ("host", False),
    ],
)
def test_who_is_within_the_networks(peer: str | None, within: bool) -> None:
    assert is_within(peer, [ip_network(INNER), ip_network(INNER6)]) is within
    assert not is_within(peer, [])


ADDRESSES = st.ip_addresses().map(str) | st.sampled_from(["127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3"])
HOPS = st.lists(ADDRESSES | st.sampled_from(["", "unknown", "10.0.0.1:80", "[::1]", "\0"]), max_size=5)


@given(st.none() | ADDRESSES, HOPS, st.lists(st.sampled_from([LOOPBACK, INNER, INNER6]), max_size=3))
def test_the_client_is_the_last_of_those_that_can_be_believed(
    peer: str | None, hops: list[str], trusted: list[str]
) -> None:
    """Each hop is believed if the one behind it is trusted; a Unix socket is."""
    networks = [ip_network(network) for network in trusted]
    believed = peer
    for hop in reversed(hops):
        if not (believed is None or is_within(believed, networks)) or not is_address(hop):
            break
        believed = hop
    found = client_address(peer, [", ".join(hops[:2]), *hops[2:]], networks)
    assert found == client_address(believed, [], [])
    assert found is None or found in network_of(found)


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
