"""The Delta tables: schemas, positions, fenced commits, snapshots and rollups."""
