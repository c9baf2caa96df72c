"""Questions against the plain-Python oracle."""
