"""The figures of one project in Prometheus' text format."""

from api.live.view import LiveView, Totals
from schemas.instants import parse_instant

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# name, kind, meaning
_EVENTS = ("streamgauge_project_events_total", "counter", "Events of the project since its first.")
_PAGEVIEWS = ("streamgauge_project_pageviews_total", "counter", "Pageviews of the project since its first.")
_ACTIVE = ("streamgauge_project_active_people", "gauge", "Distinct people with an event in the window, a sketch.")
_ERROR = ("streamgauge_project_active_people_error", "gauge", "Relative standard error of the active people.")
_STATE = ("streamgauge_project_live_state", "gauge", "1 for the state the live figures are in.")
_AS_OF = ("streamgauge_project_live_as_of_seconds", "gauge", "Unix time up to which the live figures are complete.")
_STATES = ("live", "rebuilding", "stale")


class Exposition:
    """Pages of a view. Totals never fall while the process lives, even if rebuilt ones are lower."""

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._highest: dict[int, Totals] = {}

    def page(self, project: int, now: int) -> bytes:
        """One scrape; `now` is unix milliseconds."""
        freshness = self._view.freshness(now)
        lines = [
            *_family(_ERROR, project, {"": freshness.error}),
            *_family(_STATE, project, {f',state="{state}"': int(state == freshness.state) for state in _STATES}),
        ]
        totals = self._view.totals(project)
        # A scraper takes a 0 for a fresh start and what follows for new events: what is not known is left out.
        if totals is not None and freshness.as_of is not None:
            highest = self._never_less(project, totals)
            active = self._view.figures(project, now).active_users
            lines += [
                *_family(_EVENTS, project, {"": highest.events}),
                *_family(_PAGEVIEWS, project, {"": highest.pageviews}),
                *_family(_ACTIVE, project, {f',window="{window}"': number for window, number in active.items()}),
                *_family(_AS_OF, project, {"": parse_instant(freshness.as_of) / 1000}),
            ]
        return "".join(f"{line}\n" for line in lines).encode()

    def _never_less(self, project: int, now: Totals) -> Totals:
        before = self._highest.get(project, now)
        highest = Totals(max(before.events, now.events), max(before.pageviews, now.pageviews))
        self._highest[project] = highest
        return highest


def _family(metric: tuple[str, str, str], project: int, values: dict[str, float]) -> list[str]:
    name, kind, meaning = metric
    samples = [f'{name}{{project="{project}"{labels}}} {value}' for labels, value in values.items()]
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *samples]
