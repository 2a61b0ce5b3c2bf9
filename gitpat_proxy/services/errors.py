"""The one way in which a service says no."""


class ServiceError(Exception):
    """What was asked for can't be done; the sentence says why and what would do."""
