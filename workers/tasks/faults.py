"""What is wrong with a source of rows, collected so that a person sees it all at once."""

from orchestrator.contracts import InputError

_MOST_SHOWN = 10


class Faults:
    """The faults of one source; the first ten are shown, all are counted."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._shown: list[str] = []
        self._count = 0

    def add(self, place: str, reason: str) -> None:
        """Note what is wrong with a row, by the place a person finds it at."""
        self._count += 1
        if len(self._shown) < _MOST_SHOWN:
            self._shown.append(f"{self._source}, {place}: {reason}")

    def refuse_if_any(self) -> None:
        """Raise all faults noted so far as one ``InputError``; none: do nothing."""
        hidden = self._count - len(self._shown)
        if hidden:
            raise InputError(*self._shown, f"{self._source}: {hidden} more bad rows, {self._count} in all")
        if self._shown:
            raise InputError(*self._shown)
