"""Runs the migrations inside the transaction of `store.database.upgrade`."""

from alembic import context

from gitpat_proxy.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
