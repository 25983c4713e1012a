"""Questions that word one fact several ways, with and without slips of the keyboard."""

from collections.abc import Sequence

from workers.worlds.dice import Dice

_SHORTEST_SLIP = 4


def gives_away(question: str, answer: str) -> bool:
    """Return whether the answer stands in the question, whatever the case of its letters."""
    return answer.casefold() in question.casefold()


def misspell(wording: str, dice: Dice) -> str:
    """Return the wording with one slip in a word of at least four letters: swapped, lost or doubled letters.

    What stands in braces, such as ``{entity}``, is left alone; so is a wording without a long word.
    """
    words = wording.split(" ")
    places = [place for place, word in enumerate(words) if word.isalpha() and len(word) >= _SHORTEST_SLIP]
    if not places:
        return wording
    place = dice.choice(places)
    word = words[place]
    letter = 1 + dice.below(len(word) - 2)
    slip = dice.below(3)
    if slip == 0:
        changed = word[:letter] + word[letter + 1] + word[letter] + word[letter + 2 :]
    elif slip == 1:
        changed = word[:letter] + word[letter + 1 :]
    else:
        changed = word[:letter] + word[letter] + word[letter:]
    return " ".join([*words[:place], changed, *words[place + 1 :]])


def ask(wordings: Sequence[str], entity: str, typos: float, dice: Dice) -> list[str]:
    """Ask after one fact in every one of these ways.

    Args:
        wordings: Different ways to ask, with ``{entity}`` left open.
        entity: What is asked about.
        typos: Probability of a slip in each, from 0 to 1.
        dice: Source of the draws.

    Returns:
        As many different questions, in the order of the wordings.
    """
    plain = [wording.replace("{entity}", entity) for wording in wordings]
    taken = set(plain)
    questions = []
    for wording, text in zip(wordings, plain, strict=True):
        slipped = misspell(wording, dice).replace("{entity}", entity) if dice.chance(typos) else text
        # Two wordings can slip to one text: the first keeps it, the other stays as it was written.
        questions.append(text if slipped in taken else slipped)
        taken.add(slipped)
    return questions
