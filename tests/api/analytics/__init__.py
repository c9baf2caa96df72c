"""Sharing and keeping of answers."""
