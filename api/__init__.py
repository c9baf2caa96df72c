"""The outward surface: the HTTP door, the answers and the command line."""
