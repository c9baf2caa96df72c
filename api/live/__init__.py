"""Live counters in memory: the merged view of what the workers publish, and its answers."""
