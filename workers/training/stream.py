"""Which training examples an epoch shows, and in which batches. Imports no torch.

The stream is endless and made of passes. A pass shows one example of every fact, in an order keyed by trial
and pass; each fact's examples take turns in an order keyed by the trial, so that all of them are shown before
any comes again. An epoch is the next ``examples_per_epoch`` examples of that stream: the place is a function
of the epoch's number, nothing has to be remembered to continue.
"""

from collections.abc import Sequence
from functools import lru_cache

from workers.training.keys import keyed_order


class ExampleStream:
    """The order in which one trial sees the training examples of its task."""

    def __init__(self, facts: Sequence[str | None], trial_id: str, examples_per_epoch: int | None) -> None:
        """Group the examples by fact.

        Args:
            facts: For every training example the fact it words; one without a fact is a fact of its own.
            trial_id: Key of all orders.
            examples_per_epoch: Length of an epoch in examples; None: as many as there are.

        Raises:
            ValueError: There are no examples.
        """
        if not facts:
            raise ValueError("a training split needs at least one example, got none")
        groups: dict[tuple[bool, str | int], list[int]] = {}
        for index, fact in enumerate(facts):
            groups.setdefault((True, index) if fact is None else (False, fact), []).append(index)
        self._turns = [
            [members[turn] for turn in keyed_order(len(members), trial_id, "paraphrases", number)]
            for number, members in enumerate(groups.values())
        ]
        self._fact_of = {index: number for number, members in enumerate(self._turns) for index in members}
        self._trial_id = trial_id
        self.examples_per_epoch = len(facts) if examples_per_epoch is None else examples_per_epoch
        self._pass = lru_cache(maxsize=2)(self._make_pass)

    def epoch(self, epoch: int) -> list[int]:
        """Return the indices of the training examples of an epoch (counted from 1), in the order drawn."""
        start = (epoch - 1) * self.examples_per_epoch
        indices = []
        for place in range(start, start + self.examples_per_epoch):
            number, offset = divmod(place, len(self._turns))
            indices.append(self._pass(number)[offset])
        return indices

    def batches(self, epoch: int, batch_size: int, lengths: Sequence[int] | None = None) -> list[list[int]]:
        """Cut an epoch into batches; only the last drawn may be smaller.

        Args:
            epoch: Counted from 1.
            batch_size: Examples of an optimizer step.
            lengths: Tokens of every training example. If given, examples of like length share a batch and the
                order of the batches is drawn, by the trial's key, anew for every epoch.

        Returns:
            Lists of indices of training examples.
        """
        indices = self.epoch(epoch)
        if lengths is not None:
            indices.sort(key=lambda index: lengths[index])
        batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        if lengths is None:
            return batches
        return [batches[place] for place in keyed_order(len(batches), self._trial_id, "batches", epoch)]

    def candidates(self, index: int, count: int, step: int) -> list[int]:
        """Draw wordings of one fact to choose from.

        Args:
            index: Of the training example whose turn it is.
            count: Wordings wanted; of a fact that has fewer, all are taken.
            step: The optimizer step, key of the draw.

        Returns:
            Indices of training examples of the same fact, ``index`` first.
        """
        wordings = self._turns[self._fact_of[index]]
        if count == 1 or len(wordings) == 1:
            return [index]
        order = keyed_order(len(wordings), self._trial_id, "candidates", step, index)
        others = [wordings[place] for place in order if wordings[place] != index]
        return [index, *others[: count - 1]]

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return how many batches an epoch has."""
        return -(-self.examples_per_epoch // batch_size)

    def _make_pass(self, number: int) -> list[int]:
        order = keyed_order(len(self._turns), self._trial_id, "pass", number)
        return [self._turns[fact][number % len(self._turns[fact])] for fact in order]
