"""Places where a fault test may end or freeze the worker, named by the step of delivery.

`STREAMGAUGE_CRASH_AT="before F4"` kills the process there with SIGKILL the first time,
`"after F4:3"` the third time, `STREAMGAUGE_STOP_AT` freezes it with SIGSTOP likewise.
`STREAMGAUGE_CRASH_ON="marker"` kills whatever process decodes a record that holds the marker, and
`STREAMGAUGE_HANG_ON="marker"` lets it decode for ever.
"""

import os
import signal
import time
from collections import Counter

_ACTIONS = {"STREAMGAUGE_CRASH_AT": signal.SIGKILL, "STREAMGAUGE_STOP_AT": signal.SIGSTOP}
_ARMED = {
    place: (int(nth or 1), action)
    for variable, action in _ACTIONS.items()
    for place, _, nth in [os.environ.get(variable, "").partition(":")]
    if place
}
_PASSED: Counter[str] = Counter()
_POISON = os.environ.get("STREAMGAUGE_CRASH_ON", "").encode()
_TAR = os.environ.get("STREAMGAUGE_HANG_ON", "").encode()


def crash_point(place: str) -> None:
    """Die or freeze here when a test asked for it; nothing otherwise."""
    if not _ARMED or place not in _ARMED:
        return
    _PASSED[place] += 1
    nth, action = _ARMED[place]
    if _PASSED[place] == nth:
        os.kill(os.getpid(), action)


def crash_on(value: bytes) -> None:
    """Die of a poisonous value, or hang, when a test asked for it; nothing otherwise."""
    if _POISON and _POISON in value:
        os.kill(os.getpid(), signal.SIGKILL)
    while _TAR and _TAR in value:
        time.sleep(1)
