"""Signals as a main loop wants them: they end its wait, and requests to stop are counted."""

import select
import signal
import socket
from types import FrameType
from typing import Any, Final, Self

_STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wakeups:
    """Installed while the block runs; main thread only."""

    def __init__(self) -> None:
        self.stops = 0
        self._before: dict[signal.Signals, Any] = {}
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)

    def __enter__(self) -> Self:
        self._fd_before = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in (*_STOPS, signal.SIGCHLD):
            if signal.getsignal(number) is signal.SIG_IGN and number is signal.SIGHUP:
                continue  # started by nohup
            self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._ear.close()
        self._mouth.close()

    def wait(self, seconds: float) -> None:
        """Returns at the next signal, or after `seconds`; a signal that came since the last wait ends it at once."""
        if select.select([self._ear], [], [], max(seconds, 0.0))[0]:
            self._ear.recv(4096)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if number in _STOPS:
            self.stops += 1
