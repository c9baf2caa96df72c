"""Messages to addresses that tenants name: made, signed, and sent to nowhere inside."""
