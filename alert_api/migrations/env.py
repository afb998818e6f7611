"""What Alembic runs: the migrations, on the connection and in the transaction of the caller."""

from alembic import context

from alert_api import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.Base.metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
