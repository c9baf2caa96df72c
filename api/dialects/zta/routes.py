"""ZTA's routes under `/api`."""

from api.dialects.surface import Surface
from api.dialects.zta.access import Access
from api.dialects.zta.activity import ActivityLog
from api.dialects.zta.alerts import Alerts
from api.dialects.zta.annotations import Annotations
from api.dialects.zta.archive import Archive
from api.dialects.zta.envelope import cors, error_body, preflight
from api.dialects.zta.export import Export
from api.dialects.zta.funnels import Funnels
from api.dialects.zta.goals import Goals
from api.dialects.zta.heatmaps import Heatmaps
from api.dialects.zta.keys import ApiKeys
from api.dialects.zta.public import Public
from api.dialects.zta.session import Session
from api.dialects.zta.sites import Sites
from api.dialects.zta.stats import Stats
from api.dialects.zta.statsapi import StatsApi
from api.dialects.zta.teams import Teams
from api.dialects.zta.track import Track
from api.dialects.zta.user import User
from api.dialects.zta.verification import Verification
from api.dialects.zta.webhooks import Webhooks
from api.services import Services

_PARTS = (
    Session,
    Stats,
    Track,
    Export,
    Sites,
    Archive,
    Verification,
    ApiKeys,
    Teams,
    User,
    Goals,
    Funnels,
    Alerts,
    Webhooks,
    Heatmaps,
    ActivityLog,
    StatsApi,
    Public,
    Annotations,
)


def surface(held: Services) -> Surface:
    """The dialect over a process's services."""
    access = Access(held)
    routes = [route for part in _PARTS for route in part(access).routes()]
    return Surface("zta", routes, error_body, cors, preflight)
