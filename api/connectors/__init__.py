"""Pulls events from providers that keep them: one module a provider, behind one interface."""
