"""The only caller of Faust's private consumer: generation, explicit commits and seeks.

Pinned by tests/contracts/test_faust.py; see docs/decisions/0003-faust.md for why nothing else of
Faust's bookkeeping is trusted.
"""

import faust
from faust.types import TP


class GroupConsumer:
    """The consumer of one Faust app, for one topic."""

    def __init__(self, app: faust.App, topic: str) -> None:
        self._app = app
        self._topic = topic

    def generation(self) -> int:
        """The current group generation; records carry the one they were fetched under."""
        return int(self._app.consumer_generation_id)

    async def commit(self, positions: dict[int, int]) -> None:
        """Commit next offsets under the current generation; a zombie's commit is refused quietly.

        Does not return while the broker is away: callers give it a time limit.
        """
        offsets = {TP(self._topic, partition): position for partition, position in positions.items()}
        await self._app.consumer._commit(offsets)  # type: ignore[attr-defined]  # private; contract-tested

    async def seek(self, partition: int, offset: int) -> None:
        """Ask for records from `offset`; Faust may lose the seek, so callers repeat it until they arrive."""
        await self._app.consumer.seek(TP(self._topic, partition), offset)
