"""Native routes over a real lake."""
