"""What crosses a boundary: events, records, topics, windows, live state, dead letters, projects."""
