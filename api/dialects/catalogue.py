"""All dialects of a process."""

from collections.abc import Callable, Mapping

from api.dialects.jetrack import routes as jetrack
from api.dialects.ovyxa import routes as ovyxa
from api.dialects.surface import Surface, SurfaceApp
from api.services import Services


def dialects(held: Services) -> Mapping[str, SurfaceApp]:
    """By name, as `/compat/<name>` has it."""
    builders: tuple[Callable[[Services], Surface], ...] = (
        jetrack.surface,
        ovyxa.surface,
    )
    surfaces = [build(held) for build in builders]
    return {surface.name: SurfaceApp(surface) for surface in surfaces}
