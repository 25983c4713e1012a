"""What a person rules out before asking: hyperparameters held at a value, and values that must not be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.contracts import Config, InputError, Scalar
from surrogates.data.space import Space, matching_choice


@dataclass(frozen=True, slots=True)
class Constraints:
    """Build them with ``checked``."""

    fixed: tuple[tuple[str, Scalar], ...]
    excluded: tuple[tuple[str, tuple[Scalar, ...]], ...]

    @classmethod
    def checked(
        cls,
        space: Space,
        fixed: Mapping[str, Scalar] | None,
        excluded: Mapping[str, Sequence[Scalar]] | None,
    ) -> "Constraints":
        """Take what a person said.

        Args:
            space: The declared space.
            fixed: Names to the only value that is wanted; a config that lacks the name is not wanted.
            excluded: Names to values that are not wanted.

        Returns:
            The constraints, with values as the space declares them.

        Raises:
            InputError: A name is not declared, or a fixed value can't be.
        """
        held = space.restore(dict(fixed or {}))
        problems = [
            f"{name}={value!r} can't be fixed: the space declares {space.declared(name)}"
            for name, value in held.items()
            if not space.allows(name, value)
        ]
        barred = {
            name: tuple(space.restore({name: value}).get(name) for value in values)
            for name, values in (excluded or {}).items()
        }
        if problems:
            raise InputError(*problems)
        return cls(tuple(sorted(held.items())), tuple(sorted(barred.items())))

    def __bool__(self) -> bool:
        return bool(self.fixed or self.excluded)

    def imposed(self, config: Config) -> dict[str, Scalar]:
        """Return a config with the fixed values where it has the names."""
        return {**config, **{name: value for name, value in self.fixed if name in config}}

    def allow(self, config: Config) -> bool:
        """Return whether a config is wanted."""
        return all(
            name in config and matching_choice(config[name], (value,)) == 0 for name, value in self.fixed
        ) and not any(
            name in config and matching_choice(config[name], values) is not None
            for name, values in self.excluded
        )

    def __str__(self) -> str:
        said = [f"{name}={value}" for name, value in self.fixed]
        said += [f"without {name}={', '.join(map(str, values))}" for name, values in self.excluded]
        return "; ".join(said)
