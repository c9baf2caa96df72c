"""What we rely on in libraries, pinned so that an upgrade that changes it fails here."""
