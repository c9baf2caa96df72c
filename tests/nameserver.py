"""A name server on loopback that knows what it is told."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@dataclass(slots=True)
class NameServer:
    """TXT records by name; with a `code` it answers everything with that."""

    address: str
    records: dict[str, list[str]] = field(default_factory=dict)
    code: dns.rcode.Rcode = dns.rcode.NOERROR
    asked: list[str] = field(default_factory=list)

    def reply(self, wire: bytes) -> bytes:
        asked = dns.message.from_wire(wire)
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        name = asked.question[0].name.to_text()
        self.asked.append(name)
        texts = self.records.get(name.rstrip("."))
        if self.code is not dns.rcode.NOERROR:
            answer.set_rcode(self.code)
        elif texts is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif texts:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *texts))
        return answer.to_wire()


@contextlib.contextmanager
def serving_names() -> Iterator[NameServer]:
    """One that answers until the block ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        server = NameServer(f"127.0.0.1:{bound.getsockname()[1]}")

        def answer() -> None:
            while True:
                wire, sender = bound.recvfrom(4096)
                if not wire:
                    return
                bound.sendto(server.reply(wire), sender)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"", bound.getsockname())
            thread.join()
