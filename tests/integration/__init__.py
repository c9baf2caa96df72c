"""The real processes, over HTTP, judged by other engines."""
