"""Checks of what crosses a boundary."""
