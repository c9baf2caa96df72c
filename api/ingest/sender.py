"""What the connection alone tells of who sends: a visitor's hash and a country. The address goes no further."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network

from starlette.types import Scope

from api.errors import unavailable
from api.ingest.client_address import client_address
from api.ingest.countries import Countries
from api.ingest.visitor import SaltStore, visitor_hash
from storage.errors import Unavailable


class Sender:
    """Looks at a connection; keeps and logs nothing of it."""

    def __init__(self, salts: SaltStore, countries: Countries | None, trusted_proxies: tuple[str, ...]) -> None:
        self._salts = salts
        self._countries = countries
        self._trusted = tuple(ip_network(proxy, strict=False) for proxy in trusted_proxies)

    def visitor(self, scope: Scope, headers: Mapping[bytes, bytes], project: int) -> str | None:
        """The day's hash of a visitor whose browser sent this; None where no browser did. Raises Problem 503."""
        if b"origin" not in headers:
            return None
        return self.visitor_of(project, self.address(scope), headers.get(b"user-agent", b"").decode("latin-1"))

    def visitor_of(self, project: int, address: str | None, agent: str) -> str:
        """The day's hash of whoever has this address and agent. Raises Problem 503."""
        try:
            salt = self._salts.salt(datetime.now(UTC))
        except Unavailable as error:
            raise unavailable("The visitor's salt cannot be read now; send the request again") from error
        return visitor_hash(salt, project, address, agent)

    def country(self, scope: Scope) -> str | None:
        """ISO 3166 alpha-2, where a country file is configured and knows the address."""
        return self.country_of(self.address(scope)) if self._countries is not None else None

    def country_of(self, address: str | None) -> str | None:
        """The same of an address that a server forwards."""
        return self._countries.code(address) if self._countries is not None else None

    def address(self, scope: Scope) -> str | None:
        """Where a request comes from; to be hashed, masked or counted by, and never kept."""
        client = scope.get("client")
        return client_address(client[0] if client else None, scope["headers"], self._trusted)
