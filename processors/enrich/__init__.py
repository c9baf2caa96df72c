"""Enrichment: what an event's agent, page, referrer and campaign mean; pure, and cached by distinct value."""
