"""The smallest writer of MaxMind DB files: networks with a country each, 24-bit records, one IPv6 tree."""

import struct
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

_EMPTY = -1
_MARKER = b"\xab\xcd\xefMaxMind.com"
Value = str | bytes | Mapping[str, "Value"] | list["Value"]  # bytes are encoded already


def write_countries(path: Path, countries: Mapping[str, str]) -> Path:
    """Write a database that gives each network its country code, and return its path."""
    nodes: list[list[int]] = [[_EMPTY, _EMPTY]]
    data = b""
    leaves: dict[tuple[int, int], int] = {}
    for text, code in countries.items():
        node, bit = _branch(nodes, ip_network(text))
        leaves[node, bit] = len(data)
        data += _encode({"country": {"iso_code": code}})
    count = len(nodes)
    tree = b""
    for number, node_records in enumerate(nodes):
        for bit, child in enumerate(node_records):
            offset = leaves.get((number, bit))
            record = count + 16 + offset if offset is not None else count if child == _EMPTY else child
            tree += record.to_bytes(3, "big")
    metadata: dict[str, Value] = {
        "node_count": b"\xc4" + struct.pack(">I", count),
        "record_size": b"\xa1\x18",
        "ip_version": b"\xa1\x06",
        "database_type": "Test-Country",
        "languages": ["en"],
        "binary_format_major_version": b"\xa1\x02",
        "binary_format_minor_version": b"\xa0",
        "build_epoch": b"\x01\x02\x01",
        "description": {"en": "countries of a test"},
    }
    path.write_bytes(tree + bytes(16) + data + _MARKER + _encode(metadata))
    return path


def _branch(nodes: list[list[int]], network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """Grow the tree down to a network; the place of its leaf. IPv4 lives below ::/96."""
    prefix = network.prefixlen + (96 if network.version == 4 else 0)
    address = int(network.network_address)
    node = 0
    for depth in range(prefix):
        bit = address >> (127 - depth) & 1
        if depth == prefix - 1:
            break
        if nodes[node][bit] == _EMPTY:
            nodes.append([_EMPTY, _EMPTY])
            nodes[node][bit] = len(nodes) - 1
        node = nodes[node][bit]
    return node, bit


def _encode(value: Value) -> bytes:
    """A value of the data section; every text is shorter than 29 bytes, every container than 29 items."""
    if isinstance(value, str):
        return bytes([2 << 5 | len(value)]) + value.encode()
    if isinstance(value, bytes):
        return value
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(_encode, value))
    return bytes([7 << 5 | len(value)]) + b"".join(_encode(key) + _encode(item) for key, item in value.items())
