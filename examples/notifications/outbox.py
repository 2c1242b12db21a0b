"""What is to be sent, on disk: put in with the work that it tells of, taken out when the gateway has it."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

# What has been sent is kept for a while, to know what comes a second time: the newest so many.
KEPT = 10_000


class Notification(NamedTuple):
    # Says the order, without gaps.
    number: int
    # Its sender's name of it, by which it is known if it comes again.
    id: str
    user: str
    text: str


class Outbox:
    def __init__(self, path: str) -> None:
        self.database = sqlite3.connect(path)
        # A commit is one append to a log, which is on disk before it counts.
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL,"
            " user TEXT NOT NULL, text TEXT NOT NULL, is_sent INTEGER NOT NULL DEFAULT 0)"
        )
        self.database.execute("CREATE INDEX IF NOT EXISTS unsent ON outbox (number) WHERE NOT is_sent")

    def put(self, notifications: Iterable[tuple[str, str, str]]) -> None:
        """Takes (id, user, text) in, all or none, each id once. Your own tables change in the same transaction."""
        with self.database as transaction:
            transaction.executemany(
                "INSERT INTO outbox (id, user, text) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING", notifications
            )

    def unsent(self, count: int) -> list[Notification]:
        """The oldest that may not have been sent."""
        rows = self.database.execute(
            "SELECT number, id, user, text FROM outbox WHERE NOT is_sent ORDER BY number LIMIT ?", (count,)
        )
        return [Notification(*row) for row in rows]

    def sent(self, last: Notification) -> None:
        """Everything up to this one has been sent."""
        with self.database as transaction:
            transaction.execute("UPDATE outbox SET is_sent = 1 WHERE NOT is_sent AND number <= ?", (last.number,))
            transaction.execute("DELETE FROM outbox WHERE number <= ?", (last.number - KEPT,))
