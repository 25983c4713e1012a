"""Language models behind an endpoint: OpenAI's chat completions, which vLLM, Ollama and llama.cpp serve, too.

No server is asked anything but the one whose URL a person gave. Imports the contracts, requests and pydantic;
no torch.
"""

from workers.endpoint.client import ChatClient
from workers.endpoint.errors import EndpointUnavailableError, RequestRefusedError, UnusableAnswerError
from workers.endpoint.records import Completion, EndpointSettings, Message, Usage
from workers.endpoint.structured import Answer, Question, ask

__all__ = [
    "Answer",
    "ChatClient",
    "Completion",
    "EndpointSettings",
    "EndpointUnavailableError",
    "Message",
    "Question",
    "RequestRefusedError",
    "UnusableAnswerError",
    "Usage",
    "ask",
]
