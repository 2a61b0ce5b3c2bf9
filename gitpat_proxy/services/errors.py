"""The ways in which a service says no."""

from collections.abc import Mapping


class ServiceError(Exception):
    """What was asked for can't be done; the sentence says why and what would do.

    `command` is what of that only somebody with a command line can use.
    """

    def __init__(self, sentence: str, command: str = "") -> None:
        super().__init__(f"{sentence}; {command}" if command else sentence)
        self.sentence = sentence


class NotFoundError(ServiceError):
    """There is no such thing, or it is none of theirs who ask."""


class FactsError(ServiceError):
    """Some of what was given can't be used: a sentence for each of the fields."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


class ConflictError(ServiceError):
    """It was changed meanwhile, or was asked for before with other facts."""


class ForbiddenError(ServiceError):
    """They who ask may not do that."""
