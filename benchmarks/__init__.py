"""Benchmarks: ours and a baseline, interleaved in one run."""
