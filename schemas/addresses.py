"""Which addresses are out in the world: what a tenant names must not lead into our own network."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

# A gateway turns these into the IPv4 address in their last four bytes.
_NAT64: Final = ip_network("64:ff9b::/96")
_LOCAL: Final = ("localhost", "ip6-localhost", "ip6-loopback")
_LOCAL_ENDS: Final = (".localhost", ".localdomain", ".local", ".internal", ".home.arpa")
# Resolvers read such names as addresses: 127.1, 2130706433, 0x7f.1, 0177.0.0.1.
_NUMERIC: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*")


def is_public_address(text: str) -> bool:
    """Whether this address, with all it may stand for, is a public unicast one."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.sixtofour is not None or address.teredo is not None:
            return False
        if address.ipv4_mapped is not None:
            return is_public_address(str(address.ipv4_mapped))
        if address in _NAT64:
            return is_public_address(str(ip_address(int(address) & 0xFFFF_FFFF)))
    return address.is_global and not address.is_multicast


def may_be_public(host: str) -> bool:
    """Whether a host of a URL may lie outside; what a name resolves to is judged when it is resolved."""
    name = host.lower().rstrip(".")
    if ":" in name or _NUMERIC.fullmatch(name):
        return is_public_address(name)
    return "." in name and name not in _LOCAL and not name.endswith(_LOCAL_ENDS)


def name_server(text: str) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:5353` or `[2001:db8::1]:53`. Raises ValueError."""
    parts = urlsplit(f"//{text}")
    if parts.netloc != text or parts.username is not None or parts.port == 0:
        raise ValueError(f"{text!r} is no address of a name server")
    return str(ip_address(parts.hostname or "")), parts.port or 53
