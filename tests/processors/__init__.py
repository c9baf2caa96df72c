"""Tests of the processors package."""
