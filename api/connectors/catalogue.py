"""The providers that can be pulled, and where their APIs are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from api.connectors.amplitude import Amplitude
from api.connectors.connector import Connector, NotPullable
from api.connectors.ga4 import GoogleAnalytics
from api.connectors.mixpanel import Mixpanel
from api.log.disk import is_full

_SERVERS: Final = {
    "us": "https://data.mixpanel.com",
    "eu": "https://data-eu.mixpanel.com",
    "in": "https://data-in.mixpanel.com",
}
_SITES: Final = {"us": "https://amplitude.com", "eu": "https://analytics.eu.amplitude.com"}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where providers are: fixed, so that no source leads anywhere else. Only tests have others."""

    mixpanel: Mapping[str, str] = field(default_factory=lambda: _SERVERS)
    amplitude: Mapping[str, str] = field(default_factory=lambda: _SITES)
    ga4: str = "https://analyticsdata.googleapis.com"
    ga4_token: str = "https://oauth2.googleapis.com/token"


class Catalogue:
    """Connectors of sources. `scratch` is for what is too large for memory; so many bytes of its disk stay free."""

    def __init__(self, scratch: Path, free_bytes: int, addresses: Addresses | None = None) -> None:
        self._scratch = scratch
        self._free_bytes = free_bytes
        self._addresses = addresses or Addresses()

    def connector(self, provider: str, credentials: bytes | None) -> Connector:
        """What pulls for these credentials, as they were sealed. Raises NotPullable."""
        said: dict[str, Any] = msgspec.json.decode(credentials or b"{}")
        match provider:
            case "mixpanel":
                return self._mixpanel(said)
            case "amplitude":
                return self._amplitude(said)
            case "google_analytics":
                return self._ga4(said)
        raise NotPullable(
            "Only sources of mixpanel, amplitude and google_analytics can be synced; send events to others"
        )

    def _mixpanel(self, said: Mapping[str, Any]) -> Connector:
        address = _of_region(self._addresses.mixpanel, said)
        if {"username", "secret", "projectId"} <= said.keys():
            project = said["projectId"]
            if not (project.isascii() and project.isdecimal()):
                raise NotPullable("The projectId of a mixpanel source is a number; change its credentials")
            return Mixpanel(address, _login(said, "username"), said["secret"], project)
        if "apiSecret" in said:
            return Mixpanel(address, _login(said, "apiSecret"), "")
        raise NotPullable("A sync of mixpanel needs the credentials username, secret and projectId, or apiSecret")

    def _amplitude(self, said: Mapping[str, Any]) -> Connector:
        if not {"apiKey", "secretKey"} <= said.keys():
            raise NotPullable("A sync of amplitude needs the credentials apiKey and secretKey")
        address = _of_region(self._addresses.amplitude, said)
        return Amplitude(address, _login(said, "apiKey"), said["secretKey"], self._scratch, self._has_room)

    def _has_room(self) -> bool:
        return not (self._free_bytes and is_full(self._scratch, self._free_bytes))

    def _ga4(self, said: Mapping[str, Any]) -> Connector:
        if not {"propertyId", "serviceAccount"} <= said.keys():
            raise NotPullable("A sync of google_analytics needs the credentials propertyId and serviceAccount")
        number, account = said["propertyId"], _account(said["serviceAccount"])
        if not (number.isascii() and number.isdecimal()):
            raise NotPullable("The propertyId of a google_analytics source is a number; change its credentials")
        addresses = self._addresses
        # The account's own `token_uri` is not looked at: a tenant wrote it.
        return GoogleAnalytics(
            addresses.ga4, addresses.ga4_token, number, account["client_email"], account["private_key"]
        )


def _of_region(addresses: Mapping[str, str], said: Mapping[str, Any]) -> str:
    region = said.get("region", "us")
    if region not in addresses:
        raise NotPullable(f"The region in the credentials is one of {', '.join(addresses)}")
    return addresses[region]


def _login(said: Mapping[str, Any], name: str) -> str:
    """The first half of a basic authentication, which ends at its first colon."""
    if ":" in (login := str(said[name])):
        raise NotPullable(f"The {name} in the credentials has a colon, which no name of an account has")
    return login


def _account(said: Any) -> Mapping[str, str]:
    """The JSON of a service account, as an object or as the text of the file."""
    try:
        account = msgspec.json.decode(said) if isinstance(said, str) else said
        return msgspec.convert({name: account[name] for name in ("client_email", "private_key")}, dict[str, str])
    except (msgspec.MsgspecError, LookupError, TypeError) as error:
        raise NotPullable(
            "The serviceAccount is the JSON of its key file, with client_email and private_key"
        ) from error
