"""All dialects of a process."""

from collections.abc import Callable, Mapping

from api.dialects.cohorly import routes as cohorly
from api.dialects.jetrack import routes as jetrack
from api.dialects.ovyxa import routes as ovyxa
from api.dialects.surface import Surface, SurfaceApp
from api.dialects.zta import routes as zta
from api.services import Services

_BUILDERS: tuple[Callable[[Services], Surface], ...] = (cohorly.surface, jetrack.surface, ovyxa.surface, zta.surface)


def dialects(held: Services) -> Mapping[str, SurfaceApp]:
    """By name, as `/compat/<name>` has it."""
    surfaces = [build(held) for build in _BUILDERS]
    return {surface.name: SurfaceApp(surface) for surface in surfaces}
