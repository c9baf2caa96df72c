"""The test suite; this file keeps pytest from putting `tests/` itself on the import path."""
