"""Look-ups of TXT records, with which owners of a domain say something about it."""

from typing import Final

import dns.asyncresolver
import dns.exception
import dns.resolver

from schemas.addresses import name_server

_SECONDS: Final = 5.0


class LookupFailed(Exception):
    """No name server said whether there is such a record."""


async def text_records(name: str, server: str | None = None) -> list[str]:
    """The TXT records of a name, by one server or those of this machine; none where there is no such name.

    Raises LookupFailed.
    """
    try:
        resolver = dns.asyncresolver.Resolver(configure=server is None)
        if server is not None:
            host, resolver.port = name_server(server)
            resolver.nameservers = [host]
        answer = await resolver.resolve(name, "TXT", search=False, lifetime=_SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise LookupFailed(f"{name} cannot be looked up: {error}") from error
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
