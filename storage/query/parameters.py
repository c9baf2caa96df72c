"""Values of a statement that is put together from parts: bound by name, so that their order does not matter."""

from collections.abc import Mapping


class Parameters:
    """The values of one statement. A name that was given out must appear in it."""

    def __init__(self) -> None:
        self._values: dict[str, object] = {}

    def bind(self, value: object) -> str:
        """The text that stands for the value."""
        name = f"p{len(self._values)}"
        self._values[name] = value
        return f"${name}"

    @property
    def values(self) -> Mapping[str, object]:
        return self._values
