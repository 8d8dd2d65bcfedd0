"""The API's store: SQLAlchemy models, transactions, outbox, migrations."""
