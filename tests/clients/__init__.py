"""The clients that the dialects are for, in the languages of their own documentation."""
