"""Fixtures shared by all tests."""

pytest_plugins = ["tests.broker", "tests.s3"]
