"""Tests of the work that runs beside writers and readers."""
