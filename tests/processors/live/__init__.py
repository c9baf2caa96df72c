"""Tests of the live counters."""
