"""Work on the lake beside its writers and readers: merging, expiry, vacuum, audit, on a schedule."""
