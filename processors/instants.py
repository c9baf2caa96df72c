"""Many instants at once, in the form that nearly every producer writes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.instants import FIRST, LAST, to_millis

_FORM = np.frombuffer(b"0000-00-00T00:00:00.000Z", np.uint8)
_IS_DIGIT = np.equal(_FORM, ord("0"))
_MOST_ABOVE = _IS_DIGIT * np.uint8(9)
_SIZE = len(_FORM)
_FIRST, _LAST = to_millis(FIRST), to_millis(LAST)


def plain_instants(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Unix ms of instants like 2026-11-24T17:22:07.123Z; None where one of them is written in another way."""
    text = "".join(texts)
    if not text.isascii() or set(map(len, texts)) - {_SIZE}:
        return None
    signs = np.frombuffer(text.encode(), np.uint8).reshape(-1, _SIZE)
    # Signs below the form's wrap around to large numbers.
    above = signs - _FORM
    if (above > _MOST_ABOVE).any():
        return None
    digits = above[:, _IS_DIGIT].T.astype(np.int64)
    year = ((digits[0] * 10 + digits[1]) * 10 + digits[2]) * 10 + digits[3]
    month, day, hour, minute, second = (digits[at] * 10 + digits[at + 1] for at in range(4, 14, 2))
    millis = (digits[14] * 10 + digits[15]) * 10 + digits[16]
    months = (year - 1970) * 12 + month - 1
    days = months.astype("M8[M]").astype("M8[D]") + (day - 1)
    is_valid = (
        (month > 0)
        & (month < 13)
        & (days.astype("M8[M]").astype(np.int64) == months)
        & (hour < 24)
        & (minute < 60)
        & (second < 60)
    )
    seconds = ((days.astype(np.int64) * 24 + hour) * 60 + minute) * 60 + second
    found: NDArray[np.int64] = seconds * 1000 + millis
    return found if (is_valid & (found >= _FIRST) & (found < _LAST)).all() else None
