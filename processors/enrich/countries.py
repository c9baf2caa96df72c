"""Country codes as they are stored."""


def country_code(text: str | None) -> str | None:
    """ISO 3166 alpha-2 in capitals; None for anything that is not two letters, and for the unknown `XX`."""
    if text is None:
        return None
    code = text.strip().upper()
    return code if len(code) == 2 and code.isascii() and code.isalpha() and code != "XX" else None
