"""The way in: what is checked, limited and added before an event reaches the log."""
