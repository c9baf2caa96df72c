"""What parameters of queries may say, wherever they stand, for the document."""

from typing import Any, Final

from schemas.comparison import Comparison
from schemas.deadletters import REASONS
from schemas.figures import DIMENSIONS, SORTS
from schemas.questions import DEFAULT_LIMIT, MAX_LIMIT
from schemas.series import OF_PROPERTIES, Metric
from schemas.windows import Interval

_INSTANT: Final = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
_FLAG: Final = {"enum": ["true", "false"], "default": "false"}
# Of a property, whose name follows.
_MEASURES: Final = r"^(sum|avg|min|max|p[1-9][0-9]?):.+$"
_ALONE: Final = [metric for metric in Metric if metric not in OF_PROPERTIES]

PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "from": _INSTANT,
    "to": _INSTANT,
    "interval": {"enum": list(Interval), "default": Interval.DAY},
    "compare": {"anyOf": [{"enum": list(Comparison)}, {"type": "string", "pattern": "^[^/]+/[^/]+$"}]},
    "exact": _FLAG,
    "includeBots": _FLAG,
    "other": _FLAG,
    "metric": {"anyOf": [{"enum": _ALONE}, {"type": "string", "pattern": _MEASURES}]},
    "dimension": {"anyOf": [{"enum": sorted(DIMENSIONS)}, {"type": "string", "pattern": r"^properties\..+$"}]},
    "sort": {"enum": list(SORTS), "default": SORTS[0]},
    "reason": {"enum": list(REASONS)},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    "offset": {"type": "integer", "minimum": 0, "default": 0},
}
REQUIRED: Final = frozenset({"metric", "dimension"})
