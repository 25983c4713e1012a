"""What an endpoint can do to a request, classed by what the caller does next.

An ``InputError`` besides: no server there, a key it does not take, a model it does not have; a person acts.
"""

from orchestrator.contracts import OrchestrationError
from workers.endpoint.records import Usage


class EndpointUnavailableError(OrchestrationError):
    """The server did not answer, however often it was asked: come back later."""


class RequestRefusedError(OrchestrationError):
    """The server takes requests, but not this one (too long, say): go on without its answer."""


class UnusableAnswerError(OrchestrationError):
    """The model answered, but not what it was asked for: go on without, and count it.

    Args:
        reason: What is wrong with its last answer.
        usage: What its answers cost.
    """

    def __init__(self, reason: str, usage: Usage) -> None:
        super().__init__(reason, usage)
        self.reason, self.usage = reason, usage

    def __str__(self) -> str:
        return self.reason
