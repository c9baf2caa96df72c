"""Alerts: conditions that are looked at once a minute, and whom they tell."""
