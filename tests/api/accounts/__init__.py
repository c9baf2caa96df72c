"""Accounts, projects, keys and teams as HTTP clients meet them."""
