"""Who is asking, and what a credential allows."""
