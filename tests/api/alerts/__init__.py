"""Alerts that go off, and those that must not."""
