"""The command line `streamgauge`."""
