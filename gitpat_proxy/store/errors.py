"""The two words into which the drivers' errors are turned."""


class DatabaseError(Exception):
    """The database can't be used; the sentence says why and what to do."""


class DuplicateError(Exception):
    """A row with the same unique value is there already."""
