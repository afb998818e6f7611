"""The versions of the database, oldest first; run by `database.Database.upgrade`."""
