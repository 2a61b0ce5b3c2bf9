"""What must be so before anything listens."""

from gitpat_proxy.app import backend_of
from gitpat_proxy.backends.answers import Answers
from gitpat_proxy.config.model import Config
from gitpat_proxy.store.database import Database, check_revision, revision_of, upgrade


async def prepare(config: Config) -> None:
    """Make the tables in an empty database, and try what the routes need.

    An old database is left to its owner's decision. Raises OSError or DatabaseError, with a sentence.
    """
    async with Database(config.database) as database:
        if not database.path.exists() or await revision_of(database) is None:
            await upgrade(database)
        await check_revision(database)
    for route in config.routes:
        await backend_of(route, config, Answers(config)).close()
