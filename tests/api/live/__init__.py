"""Tests of the live view and its answers."""
