"""Connectors against a local server that speaks the providers' documented protocols."""
