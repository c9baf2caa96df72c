"""Live counters: a pure fold of accepted rows, published as state."""
