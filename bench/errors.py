class BenchError(Exception):
    """A measurement, or what it needs, did not come about; the sentence says why."""


class MissingError(BenchError):
    """A program that is measured, or that measures, is not on this machine."""
