"""Errors of the worker, by what happens next.

WorkerError
├── Restart      exit 75: the next start loads the truth from the lake
└── NeedsPerson  exit 70: a restart will not help
"""


class WorkerError(Exception):
    """Root of the tree."""

    exit_status = 1


class Restart(WorkerError):
    """State is doubtful; the supervisor starts a fresh process."""

    exit_status = 75


class NeedsPerson(WorkerError):
    """The log or the lake is not what it was; nothing is skipped silently."""

    exit_status = 70
