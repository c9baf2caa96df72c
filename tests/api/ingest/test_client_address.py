"""Whose address a request has, and whom the door believes."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ingest.client_address import client_address

_TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def _forwarded(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"example.com"), *((b"x-forwarded-for", line.encode("latin-1")) for line in lines)]


@pytest.mark.parametrize(
    ("peer", "lines", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [" , ,203.0.113.9, "], "203.0.113.9"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:51234"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:DB8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ['"[2001:db8::7]:443"'], "2001:db8::7"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
    ],
)
def test_the_rightmost_hop_that_is_no_trusted_proxy(peer: str, lines: list[str], address: str) -> None:
    assert client_address(peer, _forwarded(*lines), _TRUSTED) == address


def test_a_client_cannot_choose_its_address() -> None:
    assert client_address("203.0.113.9", _forwarded("1.1.1.1"), _TRUSTED) == "203.0.113.9"
    assert client_address("203.0.113.9", _forwarded("10.0.0.2"), _TRUSTED) == "203.0.113.9"
    assert client_address("10.0.0.1", _forwarded("1.1.1.1"), ()) == "10.0.0.1"


def test_the_header_is_found_in_any_case() -> None:
    assert client_address("10.0.0.1", [(b"X-Forwarded-For", b"203.0.113.9")], _TRUSTED) == "203.0.113.9"


@pytest.mark.parametrize("hop", ["unknown", "_hidden", "203.0.113", "999.1.1.1", "a:b:c", "[", "\xff", "1.1.1.1.1"])
def test_a_hop_that_is_no_address_leaves_the_client_unknown(hop: str) -> None:
    assert client_address("10.0.0.1", _forwarded(f"1.1.1.1, {hop}, 10.0.0.2"), _TRUSTED) is None


def test_nonsense_left_of_the_client_does_not_matter() -> None:
    assert client_address("10.0.0.1", _forwarded("unknown, 203.0.113.9"), _TRUSTED) == "203.0.113.9"


@pytest.mark.parametrize("peer", [None, "", "testclient", "/run/socket"])
def test_no_peer_is_no_address_whatever_the_headers_say(peer: str | None) -> None:
    assert client_address(peer, _forwarded("203.0.113.9"), _TRUSTED) is None


@given(st.text(), st.lists(st.binary(max_size=64), max_size=4))
def test_nothing_makes_it_raise_and_an_answer_is_an_address(text: str, lines: list[bytes]) -> None:
    headers = [(b"x-forwarded-for", line) for line in lines]
    for peer in (text, "10.0.0.1"):
        address = client_address(peer, headers, _TRUSTED)
        assert address is None or str(ip_address(address)) == address
