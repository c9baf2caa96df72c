"""All that one API process holds; `create_app` puts it on `app.state.services`."""

import asyncio
from dataclasses import dataclass, field

from api.analytics.answering import Analytics
from api.auth.keys import KeyResolver, ProjectFinder
from api.connectors.catalogue import Catalogue
from api.health import Readiness
from api.ingest.countries import Countries
from api.ingest.door import Door
from api.ingest.intake import Intake
from api.ingest.refusals import Refusals
from api.ingest.sender import Sender
from api.ingest.tally import Tally
from api.ingest.visitor import SaltStore
from api.limits.limiter import Limiter
from api.live.accepted import AcceptedEvents
from api.live.consumer import LiveSource
from api.live.recent import RecentEvents
from api.live.view import LiveView
from api.log.producer import LogProducer
from api.mail import Mailer
from api.settings import ApiSettings
from api.webhooks.courier import Courier
from storage.meta.engine import Metadata
from storage.meta.kept import KeptRepository
from storage.meta.tokens import Tokens


@dataclass(slots=True)
class Services:
    """What the lane and the routes work with; the app's lifespan opens and closes it."""

    settings: ApiSettings
    metadata: Metadata | None
    producer: LogProducer
    door: Door
    intake: Intake
    keys: KeyResolver
    find_project: ProjectFinder
    salts: SaltStore
    countries: Countries | None
    sender: Sender
    tally: Tally
    refusals: Refusals
    live: LiveView
    accepted: AcceptedEvents
    analytics: Analytics
    tokens: Tokens
    limiter: Limiter
    mailer: Mailer
    courier: Courier
    catalogue: Catalogue
    kept: KeptRepository | None = None
    live_source: LiveSource | None = None
    recent: RecentEvents | None = None
    readiness: Readiness = field(default_factory=Readiness)
    # Set when the process begins to stop, so that endless answers can end.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    # Records that the log had not taken when the process had to stop.
    unsent: int = 0

    @property
    def database(self) -> Metadata:
        """The metadata, for routes that cannot be without it."""
        if self.metadata is None:
            raise RuntimeError("this process was given keys and projects in place of a database")
        return self.metadata

    @property
    def things(self) -> KeptRepository:
        """What projects keep, for routes that cannot be without it."""
        if self.kept is None:
            raise RuntimeError("this process was given keys and projects in place of a database")
        return self.kept

    def begin_to_stop(self) -> None:
        """Not ready any more, and endless answers end; safe to repeat."""
        self.readiness.is_stopping = True
        self.stopping.set()
