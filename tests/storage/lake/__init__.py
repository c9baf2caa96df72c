"""Tests of the lake: commits, snapshots, durability, audit."""
