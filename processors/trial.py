"""Records decoded in a process of their own, which may die of it: that is how a poisonous line is found."""

import logging
import multiprocessing
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from processors.batch import Batch
from processors.decode import DecodePolicy, LogRecord
from processors.duplicates import DuplicateWindow
from processors.partition import PartitionState
from processors.poison import WHOLE, lines_in
from schemas.events import EventLimits
from storage import metrics

log = logging.getLogger(__name__)

# A record takes 10 ms; what takes this long hangs, and is as deadly as a crash.
_HANGS_SECONDS = 5.0
_START_SECONDS = 120.0
# Every poisonous line costs two processes; a record with more of them goes as a whole.
_MOST_LINES = 20

_NOTHING: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Question:
    """Decode the record around some lines; None: only split it, and say how many lines it has."""

    record: LogRecord
    around: frozenset[int] | None


class _AnyProject:
    """Lines of every project are decoded to their end."""

    def __contains__(self, project: object) -> bool:
        return True


class Trial:
    """Finds the lines that kill a decoder. Blocking; one process at a time, ended with the block."""

    def __init__(self, limits: EventLimits) -> None:
        self._policy = DecodePolicy("", _AnyProject(), limits)
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.end()

    def poison(self, records: Iterable[LogRecord]) -> dict[int, frozenset[int]]:
        """Offsets of the records that kill a process twice, each with the lines that do."""
        found: dict[int, frozenset[int]] = {}
        for record in records:
            if self._kills(record, _NOTHING) and (killers := self._killers(record)):
                metrics.count("streamgauge_alarms_total", kind="deadly record")
                log.error(
                    "a record kills the process that decodes it",
                    extra={"partition": record.partition, "offset": record.offset, "lines": sorted(killers)},
                )
                found[record.offset] = killers
        return found

    def _killers(self, record: LogRecord) -> frozenset[int]:
        count = self._ask(_Question(record, None))
        if count is None:
            return frozenset({WHOLE})
        everything = frozenset(range(count))
        killers: set[int] = set()
        for index in range(count):
            if self._kills(record, everything - {index}):
                killers.add(index)
                if len(killers) > _MOST_LINES:
                    return frozenset({WHOLE})
        # Lines that only kill together, or the record around them.
        return frozenset({WHOLE}) if self._kills(record, frozenset(killers)) else frozenset(killers)

    def _kills(self, record: LogRecord, around: frozenset[int]) -> bool:
        """Whether two processes die of it: one may have died of something else."""
        question = _Question(record, around)
        return self._ask(question) is None and self._ask(question) is None

    def _ask(self, question: _Question) -> int | None:
        """The answer, or None when the process died of the question."""
        if self._child is None:
            self._child = _Child(self._policy)
        answer = self._child.ask(question)
        if answer is None:
            self._child.end()
            self._child = None
        return answer


class _Child:
    """One decoding process."""

    def __init__(self, policy: DecodePolicy) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, policy), name="trial", daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(_START_SECONDS):
            self.end()
            raise OSError("the process that tries records does not start")
        self._pipe.recv()

    def ask(self, question: _Question) -> int | None:
        try:
            self._pipe.send(question)
            if self._pipe.poll(_HANGS_SECONDS):
                answer: int = self._pipe.recv()
                return answer
        except (EOFError, OSError):  # it died
            pass
        return None

    def end(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(pipe: Connection, policy: DecodePolicy) -> None:
    """The life of the process: answer until the pipe closes, or die of a question."""
    with suppress(OSError):  # where memory runs out it is this process that goes, not the worker
        Path("/proc/self/oom_score_adj").write_text("1000")
    pipe.send(0)
    with suppress(EOFError):
        while True:
            pipe.send(_answer(pipe.recv(), policy))


def _answer(question: _Question, policy: DecodePolicy) -> int:
    record = question.record
    if question.around is None:
        return lines_in(record)
    # The same way as in a worker, up to the columns.
    poison = {record.offset: question.around} if question.around else {}
    state = PartitionState(record.partition, 0, record.offset, DuplicateWindow(1, 1), poison=poison)
    accepted = state.accept([record], policy)
    Batch().add(accepted, 0, 0.0)
    return accepted.counts[0].lines
