"""What lies outside of our own network, in every spelling."""

import pytest

from schemas.addresses import is_public_address, may_be_public, name_server


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "127.1",
        "no address",
        "",
    ],
)
def test_private_addresses(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "printer",
        "db.internal",
        "a.localhost",
        "nas.local",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0x7f000001",
        "::1",
        "::ffff:127.0.0.1",
        "",
    ],
)
def test_hosts_that_are_ours(host: str) -> None:
    assert not may_be_public(host)


@pytest.mark.parametrize("host", ["hooks.example.org", "8.8.8.8", "2606:4700::1111", "1e100.net", "0x.example.org"])
def test_hosts_that_may_be_anywhere(host: str) -> None:
    assert may_be_public(host)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("[2001:db8::1]:53", ("2001:db8::1", 53)),
    ],
)
def test_name_servers(text: str, server: tuple[str, int]) -> None:
    assert name_server(text) == server


@pytest.mark.parametrize("text", ["", "dns.example.org", "1.1.1.1:0", "1.1.1.1:99999", "a@1.1.1.1", "1.1.1.1/x", "::1"])
def test_what_is_no_name_server(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        name_server(text)
