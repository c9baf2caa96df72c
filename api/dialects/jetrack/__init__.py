"""Jetrack: reading an account's websites and their statistics, by key."""
