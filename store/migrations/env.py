"""Alembic's entry: migrates on the connection that `store.migrations` hands over."""

from alembic import context

from store.models import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
