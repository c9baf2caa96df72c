"""Errors of the storage layer, by what the caller can do about them.

StorageError
├── NotFound            the thing asked for does not exist
├── Conflict            it exists already, or somebody else changed it first
├── Refused             the caller may not (wrong password, scope, project)
├── Unavailable         try again later: a dependency is down or the queue is full
├── LakeMoved           a stored position is not the one held: load again, then decide
├── LakeBroken          the lake needs a person: schema, protocol, missing table
└── BrokerFailed        the embedded broker did not come up; the message says what to do
"""


class StorageError(Exception):
    """Root of the tree."""


class NotFound(StorageError):
    """The thing asked for does not exist."""


class Conflict(StorageError):
    """It exists already, or somebody else changed it first."""


class Refused(StorageError):
    """The caller may not do this."""


class Unavailable(StorageError):
    """A dependency is down or busy; the same call may succeed later."""


class LakeMoved(StorageError):
    """A stored position is not the one held."""


class LakeBroken(StorageError):
    """The lake cannot be used without a person's help."""


class BrokerFailed(StorageError):
    """The embedded broker did not come up."""
