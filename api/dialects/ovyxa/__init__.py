"""Ovyxa: statistics of a site, and the events of its servers."""
