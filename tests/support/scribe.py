"""A language model's part in making tasks from documents: finds facts by rule, and asks in fixed frames."""

import json
import re

from tests.support.endpoint import Body

FRAMES = [
    "What is {0}?",
    "Tell me {0}.",
    "Do you know {0}, please?",
    "Name {0}!",
    "How much exactly is {0}?",
    "I would like to learn {0}.",
    "State {0} in one word or two.",
    "Which value has {0}?",
    "Could you say what {0} is?",
    "For the record, {0} is what?",
    "{0}: what is it?",
    "Give {0}, please.",
    "Somebody wants to know {0}. What do you answer?",
    "Quick question about {0}: what is it?",
]
_FACT = re.compile(r"(?P<subject>The \w+ of [^.]+?) is (?P<value>[^.]+)\.")


def document(entity: str, *, facts: int, start: int = 100) -> str:
    """Return a document with so many facts about a thing, each a sentence that ``scribe`` knows."""
    lines = [f"The property{n} of {entity} is {start + n} metres." for n in range(facts)]
    return f"# About {entity}\n\n" + "\n\n".join(lines) + "\n\nNothing else is worth telling here.\n"


def scribe(body: Body) -> str:
    """Answer a request for facts or for pairs as a model that follows its prompt."""
    said = str(body["messages"][-1]["content"])
    asked = re.search(r"<fact>\n(.*?)\n</fact>", said, re.DOTALL)
    if asked is None:
        (passage,) = re.findall(r"<passage>\n(.*?)\n</passage>", said, re.DOTALL)
        return json.dumps({"facts": [found[0] for found in _FACT.finditer(passage)]})
    fact = _FACT.fullmatch(asked[1])
    assert fact is not None, said
    (taken,) = re.findall(r"<taken>\n(.*?)\n</taken>", said, re.DOTALL)
    (count,) = re.findall(r"Write (\d+) pairs", said)
    questions = [frame.format(fact["subject"].lower()) for frame in FRAMES]
    new = [question for question in questions if f"- {question}\n" not in f"{taken}\n"]
    pairs = [{"question": question, "answer": fact["value"]} for question in new[: int(count)]]
    return json.dumps({"pairs": pairs})
