"""Errors of the storage layer, by what the caller can do about them.

StorageError
├── NotFound            the thing asked for does not exist
├── Conflict            it exists already, or somebody else changed it first
├── Refused             the caller may not (wrong password, scope, project)
│   └── QuotaReached    the account has as many as its plan allows
├── Gone                it existed, and is not kept any more
├── Unavailable         try again later: a dependency is down or the queue is full
├── SecretUnreadable    a sealed secret does not open: its key is gone, or it lies in another row
├── LakeUnreadable      a read failed: nothing is known, try again on a fresh version
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


class QuotaReached(Refused):
    """The account has as many as its plan allows."""


class Gone(StorageError):
    """It existed, and is not kept any more."""


class Unavailable(StorageError):
    """A dependency is down or busy; the same call may succeed later."""


class SecretUnreadable(StorageError):
    """A sealed secret does not open."""


class LakeUnreadable(StorageError):
    """A read of the lake failed; a fresh version may succeed."""


class LakeBroken(StorageError):
    """The lake cannot be used without a person's help."""


class BrokerFailed(StorageError):
    """The embedded broker did not come up."""
