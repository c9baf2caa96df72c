"""Who may ask how often: the limit of each surface, the windows they are counted in, and what a caller is told."""

import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Final

from api.errors import limited, unavailable
from api.limits.windows import Verdict, Windows, WindowsBusy
from api.settings import ApiSettings
from schemas.limits import Limit, parse_limits
from schemas.projects import Key
from storage.metrics import count

logger = logging.getLogger(__name__)

# How long the shared windows are left alone after they could not be had.
_PAUSE_SECONDS: Final = 1.0


class Quota(StrEnum):
    """What is counted apart; each has its setting `STREAMGAUGE_LIMIT_...`."""

    NATIVE = "native"
    NATIVE_INGEST = "native_ingest"
    REALTIME = "realtime"
    JETRACK = "jetrack"
    ZTA = "zta"
    ZTA_STATS_API = "zta_stats_api"
    ZTA_TRACK = "zta_track"
    COHORLY_INGEST = "cohorly_ingest"
    COHORLY = "cohorly"
    OVYXA_FREE = "ovyxa_free"
    OVYXA_PRO = "ovyxa_pro"
    OVYXA_ENTERPRISE = "ovyxa_enterprise"
    LOGIN = "login"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a request fared; its headers go with every answer that is limited."""

    is_admitted: bool
    limit: int
    remaining: int
    reset: int
    retry_after: int

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """`X-RateLimit-Limit`, `-Remaining`, `-Reset` (unix seconds), and `Retry-After` with a refusal."""
        told = (
            (b"x-ratelimit-limit", b"%d" % self.limit),
            (b"x-ratelimit-remaining", b"%d" % self.remaining),
            (b"x-ratelimit-reset", b"%d" % self.reset),
        )
        return told if self.is_admitted else (*told, (b"retry-after", b"%d" % self.retry_after))


class Limiter:
    """Counts requests together with the other API processes of the host; any thread may call, none waits long.

    While the shared windows cannot be had, requests are counted by this process alone, with the same numbers, so that
    the door stays open and bounded; logins are refused, since guessing passwords is what a limit is for.
    """

    def __init__(self, settings: ApiSettings, path: Path | None = None) -> None:
        """`path` is where the processes share; without it each counts alone."""
        self._is_on = settings.rate_limits
        self._limits = {quota: parse_limits(getattr(settings, f"limit_{quota}")) for quota in Quota}
        self._path = path
        self._shared: Windows | None = None
        self._own: Windows | None = None
        self._opening = Lock()
        self._paused_until = 0.0

    def take(self, quota: Quota, subject: str, override: str | None = None) -> Standing | None:
        """Count one request of a subject; None where nothing limits it. `override` stands for the surface's limits."""
        limits = self._limits[quota] if override is None else _parsed(override)
        if not (self._is_on and limits):
            return None
        subject = f"{quota} {subject}"
        try:
            verdict = self._windows().take(subject, limits)
        except WindowsBusy as error:
            self._pause(error)
            verdict = self._alone().take(subject, limits)
        return _standing(verdict)

    def admit(self, quota: Quota, subject: str, override: str | None = None) -> Standing | None:
        """As `take`, in the native form; raises Problem 429."""
        standing = self.take(quota, subject, override)
        if standing is not None and not standing.is_admitted:
            raise limited(standing.retry_after, standing.headers)
        return standing

    def give_back(self, quota: Quota, subject: str) -> None:
        """Count a subject's last request no more."""
        if self._is_on:
            with suppress(WindowsBusy):  # it leaves its window by itself
                self._windows().give_back(f"{quota} {subject}")

    def attempt(self, address: str | None, email: str) -> Standing | None:
        """Count an attempt to log in or to reset a password before it is judged, so that none at once slip through.

        Raises Problem 503 while it cannot be counted for the whole host.
        """
        limits = self._limits[Quota.LOGIN]
        if not (self._is_on and limits):
            return None
        try:
            return _standing(self._windows().take(_attempt(address, email), limits))
        except WindowsBusy as error:
            self._pause(error)
            raise unavailable("Logins are closed for a moment; try again") from error

    def succeeded(self, address: str | None, email: str) -> None:
        """Forget the attempts of somebody who proved who they are: only failures count."""
        if self._is_on and self._limits[Quota.LOGIN]:
            try:
                self._windows().forget(_attempt(address, email))
            except WindowsBusy as error:
                self._pause(error)

    def close(self) -> None:
        """Give up the windows; safe to repeat."""
        for windows in (self._shared, self._own):
            if windows is not None:
                windows.close()

    def _windows(self) -> Windows:
        if self._paused_until and time.monotonic() < self._paused_until:
            raise WindowsBusy("they could not be had a moment ago")
        if self._path is None:
            return self._alone()
        if self._shared is None:
            try:
                with self._opening:
                    self._shared = self._shared or Windows(self._path)
            except OSError as error:
                raise WindowsBusy(str(error)) from error
        return self._shared

    def _alone(self) -> Windows:
        with self._opening:
            self._own = self._own or Windows()
        return self._own

    def _pause(self, error: WindowsBusy) -> None:
        now = time.monotonic()
        if now >= self._paused_until:
            self._paused_until = now + _PAUSE_SECONDS
            count("streamgauge_alarms_total", kind="limits alone")
            logger.error("requests are counted by this process alone", extra={"reason": str(error)})


def subject_of(key: Key) -> str:
    """Whom a credential's requests are counted for: a key by itself, logins by their account."""
    return f"account {key.account_id}" if key.kind == "login" else key.id


def _attempt(address: str | None, email: str) -> str:
    return f"{Quota.LOGIN} {address} {email.strip().lower()}"


def _standing(verdict: Verdict) -> Standing:
    wait = max(1, math.ceil(verdict.wait_seconds))
    return Standing(
        is_admitted=verdict.is_admitted,
        limit=verdict.limit,
        remaining=verdict.remaining,
        reset=math.ceil(time.time() + verdict.wait_seconds),
        retry_after=wait,
    )


@lru_cache(maxsize=1024)
def _parsed(override: str) -> tuple[Limit, ...]:
    return parse_limits(override)
