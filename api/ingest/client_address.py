"""The address of the client behind the proxies that a setting names."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def client_address(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted: tuple[Network, ...]
) -> str | None:
    """The client's address in one spelling: the peer, or the rightmost hop that is no trusted proxy.

    Only the hops that trusted proxies wrote are believed, so a client cannot choose its address. None where the
    address cannot be known: no peer, or a hop that is no address.
    """
    address = _address(peer) if peer else None
    if address is None or not _is_trusted(address, trusted):
        return str(address) if address else None
    for hop in reversed(_forwarded(headers)):
        address = _address(hop)
        if address is None:
            return None
        if not _is_trusted(address, trusted):
            break
    return str(address)


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The hops of all X-Forwarded-For headers, in the order in which the proxies added them."""
    lines = [value.decode("latin-1") for name, value in headers if name.lower() == b"x-forwarded-for"]
    return [hop for line in lines for part in line.split(",") if (hop := part.strip())]


def _is_trusted(address: Address, trusted: tuple[Network, ...]) -> bool:
    return any(address in network for network in trusted)


def _address(text: str) -> Address | None:
    """An address without port, brackets, quotes and zone; an IPv4 address mapped into IPv6 is the IPv4 address."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
