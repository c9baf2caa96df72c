"""Rate limits: exact sliding windows, counted together by all API processes of a host."""
