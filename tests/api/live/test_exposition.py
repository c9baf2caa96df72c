"""The Prometheus page of a project, read back by the library's own parser."""

from prometheus_client.parser import text_string_to_metric_families

from api.live.exposition import Exposition
from api.live.view import LiveView
from tests.api.live.messages import slot, status, totals

NOW = 1_800_000_005_000


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_a_page_has_totals_people_and_state() -> None:
    view = LiveView()
    for message in (status(NOW), slot(NOW // 1000, ids=["a", "b"]), totals(12, 3)):
        view.apply(message)
    found = samples(Exposition(view).page(1, NOW))
    project = ("project", "1")
    assert found["streamgauge_project_events_total", (project,)] == 12
    assert found["streamgauge_project_pageviews_total", (project,)] == 3
    assert found["streamgauge_project_active_people", (project, ("window", "5m"))] == 2
    assert found["streamgauge_project_live_state", (project, ("state", "live"))] == 1
    assert found["streamgauge_project_live_state", (project, ("state", "stale"))] == 0
    assert found["streamgauge_project_live_as_of_seconds", (project,)] == NOW / 1000


def test_totals_never_fall_though_rebuilt_ones_are_lower() -> None:
    view = LiveView()
    exposition = Exposition(view)
    view.apply(status(NOW))
    view.apply(totals(12, 3))
    exposition.page(1, NOW)
    view.apply(status(NOW + 1000, chain="new"))
    view.apply(totals(5, 4, chain="new"))
    found = samples(exposition.page(1, NOW + 1000))
    assert found["streamgauge_project_events_total", (("project", "1"),)] == 12
    assert found["streamgauge_project_pageviews_total", (("project", "1"),)] == 4


def test_a_view_that_heard_nothing_says_so() -> None:
    found = samples(Exposition(LiveView()).page(1, NOW))
    assert found["streamgauge_project_live_state", (("project", "1"), ("state", "stale"))] == 1
    assert ("streamgauge_project_live_as_of_seconds", (("project", "1"),)) not in found
    assert ("streamgauge_project_events_total", (("project", "1"),)) not in found, "a 0 would be a fall"
