"""All that stays: the lake, its queries, the metadata and the embedded broker."""
