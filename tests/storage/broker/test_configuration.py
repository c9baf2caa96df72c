"""Ports, identity and properties of the embedded broker."""

import json
import socket
from pathlib import Path

import pytest

from storage.broker.configuration import (
    HOST,
    Identity,
    free_port,
    is_free,
    java_options,
    new_cluster_id,
    read_identity,
    read_pid,
    server_properties,
    write_identity,
)

IDENTITY = Identity("MkU3OEVBNTcwNTJENDM2Qk", 20_001, 20_002)


def test_ports_are_below_the_clients_range() -> None:
    identity = Identity.new(None)

    assert 1024 < identity.port < 32_768
    assert 1024 < identity.controller_port < 32_768
    assert identity.port != identity.controller_port


def test_listening_port_is_not_free() -> None:
    port = free_port(without=frozenset())
    assert is_free(port)

    with socket.create_server((HOST, port)):
        assert not is_free(port)


def test_cluster_ids_are_22_characters_that_no_option_starts_with() -> None:
    ids = [new_cluster_id() for _ in range(1000)]

    assert {len(text) for text in ids} == {22}
    assert not [text for text in ids if text.startswith("-")]


def test_identity_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "broker.json"

    write_identity(file, IDENTITY, 123)

    assert json.loads(file.read_text()) == {
        "pid": 123,
        "port": 20_001,
        "controllerPort": 20_002,
        "clusterId": "MkU3OEVBNTcwNTJENDM2Qk",
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert read_identity(file, tmp_path) == IDENTITY
    assert read_pid(file) == 123


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": null}', '{"port": "x", "pid": "y", "clusterId": 1}'])
def test_damaged_identity_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "broker.json"
    file.write_text(content)

    assert read_identity(file, tmp_path) is None
    assert read_pid(file) is None


def test_cluster_of_the_data_wins(tmp_path: Path) -> None:
    (tmp_path / "meta.properties").write_text("#comment\nversion=1\ncluster.id=Zm9ybWF0dGVkZm9ybWF0dA\nnode.id=1\n")
    write_identity(tmp_path / "broker.json", IDENTITY, None)

    identity = read_identity(tmp_path / "broker.json", tmp_path)

    assert identity == Identity("Zm9ybWF0dGVkZm9ybWF0dA", 20_001, 20_002)


def test_properties_listen_on_loopback_only_and_each_is_set_once() -> None:
    lines = [line for line in server_properties(IDENTITY).splitlines() if not line.startswith("#")]
    properties = dict(line.split("=", 1) for line in lines)

    assert len(properties) == len(lines)
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert properties["auto.create.topics.enable"] == "false"


def test_small_heap_starts_no_larger_than_it_may_grow(tmp_path: Path) -> None:
    assert {"-Xms32m", "-Xmx32m"} <= set(java_options(32, tmp_path))
