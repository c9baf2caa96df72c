"""Other products' APIs over the same core: credentials, parameters, envelopes, errors, limits and CORS."""
