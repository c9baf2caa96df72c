"""Which events of which project a question is about."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self

from schemas.filters import EVERYTHING, Filter
from schemas.windows import TimeRange


@dataclass(frozen=True, slots=True)
class Selection:
    """The events of one project in a range that pass the filters. Bots are left out unless asked for."""

    project: int
    span: TimeRange
    filters: Filter = EVERYTHING
    includes_bots: bool = False

    def before(self, shift: timedelta | None = None) -> Self:
        """The same of the time directly before, of equal length, or of a time earlier by `shift`."""
        shift = shift or (self.span.end - self.span.start)
        return replace(self, span=TimeRange(self.span.start - shift, self.span.end - shift))
