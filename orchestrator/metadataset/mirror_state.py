"""How far a mirror has come, for people and for exit codes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MirrorState:
    """How far a mirror has come."""

    behind_files: int
    """Files whose newest content it lacks."""
    behind_s: float
    """For how long the oldest of them has been lacking."""
    uploaded_bytes: int
    """By this process."""
    last_error: str | None
    """Why the last sync was cut short; None if it was not."""
    missing: tuple[str, ...] = ()
    """Names of the files that are behind."""

    def render(self) -> str:
        """Return a sentence for people, with what to do."""
        if not self.behind_files:
            return "the mirror is up to date"
        files = "1 file" if self.behind_files == 1 else f"{self.behind_files} files"
        cause = f" ({self.last_error})" if self.last_error else ""
        named = ", ".join(self.missing[:3]) + (", ..." if len(self.missing) > 3 else "")
        return (
            f"the mirror lacks {files} for {self.behind_s:.0f} s{cause}: {named}; nothing is lost, the root "
            "holds all: `foretune resume` with the same --mirror continues"
        )
