"""Messages of webhooks, against a server with a certificate of its own."""
