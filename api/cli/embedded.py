"""The embedded broker as the commands use it."""

from storage.settings import StorageSettings


def fetch(settings: StorageSettings) -> None:
    """Have the server's jars and a Java runtime at hand, with progress on a terminal."""


def describe(settings: StorageSettings) -> str:
    """What is at hand; raises BrokerFailed when something is missing."""
    return "not checked"
