"""What a task from documents will cost, before anything is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.documents.facts import Fact, ask_for_facts
from workers.documents.pairs import PAIRS_PER_FACT, SPARE_PAIRS, PairsOfFact, ask_for_pairs
from workers.documents.passages import Passage
from workers.documents.recipe import RecipeSettings
from workers.endpoint import Message
from workers.prompts import Prompt

CHARS_PER_TOKEN = 4
"""Of English text under the tokenizers of today's models, about."""
FACT_TOKENS = 30
PAIR_TOKENS = 45


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Requests and tokens, if every passage gives as many facts as it may and no pair is rejected."""

    passages: int
    characters: int
    facts: int
    requests: int
    prompt_tokens: int
    completion_tokens: int


def estimate(passages: Sequence[Passage], settings: RecipeSettings, prompts: dict[str, Prompt]) -> Estimate:
    """Estimate what passages will cost.

    Args:
        passages: Those that will be asked about.
        settings: Of the recipe.
        prompts: Those of the recipe, by name.

    Returns:
        More than will be used, mostly: few passages give as many facts as they may.
    """
    most = settings.facts_per_passage
    prompt_chars = 0
    for passage in passages:
        facts = ask_for_facts(prompts["facts"], passage, most=most, max_tokens=settings.max_tokens)
        typical = Fact(fact_id="", text="x" * FACT_TOKENS * CHARS_PER_TOKEN, passage=passage)
        pairs = ask_for_pairs(prompts["pairs"], PairsOfFact(typical), max_tokens=settings.max_tokens)
        prompt_chars += _length(facts.messages) + most * _length(pairs.messages)
    count = most * len(passages)
    return Estimate(
        passages=len(passages),
        characters=sum(len(passage.text) for passage in passages),
        facts=count,
        requests=len(passages) + count,
        prompt_tokens=prompt_chars // CHARS_PER_TOKEN,
        completion_tokens=count * (FACT_TOKENS + (PAIRS_PER_FACT + SPARE_PAIRS) * PAIR_TOKENS),
    )


def _length(messages: Sequence[Message]) -> int:
    return sum(len(message.content) for message in messages)
