"""Questions of the outside answered from the lake: one at a time, shared, and kept while true."""
