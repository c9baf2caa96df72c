"""The native surface: one module a resource, each a function that makes its router."""
