"""Faults on real processes: death, freezing, full disks, poison; each test proves that its fault bit."""
