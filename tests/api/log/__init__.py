"""The log's edge."""
