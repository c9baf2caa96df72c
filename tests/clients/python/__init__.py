"""Clients in Python, each a program of its own."""
