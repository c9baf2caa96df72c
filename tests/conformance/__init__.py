"""One behaviour, every place and server that must show it."""
