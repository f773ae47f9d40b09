//! Tests of the store, each against SQLite and PostgreSQL.
