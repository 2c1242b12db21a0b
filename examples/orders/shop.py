"""A shop: orders over plain HTTP into a database, and what becomes of them on the bus, as soon as it is committed.

    .venv/bin/python examples/orders/shop.py [nats://127.0.0.1:4222] [PORT] [DATABASE]

    POST /orders {"shop": "north", "item": "tea"}     201, Location: /orders/1
    POST /orders/1/next                               placed, paid, packed, shipped; 409 after that
    GET /orders/1                                     all that has happened to it

What happens to an order and that it has to be told are one transaction (the outbox pattern). Telling may fail at any point, and
is done again: each event has an id, under which the gateway takes it once.
"""

import asyncio
import json
import re
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nats

STEPS = ["placed", "paid", "packed", "shipped"]
COLUMNS = 'number, id, "order", shop, item, step, committed_ms'
NAME = re.compile(r"[a-z0-9-]{1,32}")
BODY_MAX = 10_000
# Shorter than the gateway remembers ids: what it has, it suppresses.
AGAIN_S = 60
RECONNECT_S = 0.5


class Unknown(Exception):
    """There is no such order."""


class Orders:
    """The database, for the threads of requests and for the one that tells."""

    def __init__(self, path: str, on_event: Callable[[], None]) -> None:
        self.on_event = on_event
        self.lock = threading.RLock()
        self.database = sqlite3.connect(path, check_same_thread=False)
        self.database.row_factory = sqlite3.Row
        self.database.executescript("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE IF NOT EXISTS events (
                number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, "order" INTEGER, shop TEXT, item TEXT, step TEXT,
                committed_ms REAL, is_told INTEGER DEFAULT 0, UNIQUE ("order", step));
            CREATE INDEX IF NOT EXISTS untold ON events (number) WHERE NOT is_told;
        """)

    def place(self, shop: str, item: str) -> dict:
        with self.lock, self.database:
            (order,) = self.database.execute('SELECT coalesce(max("order"), 0) + 1 FROM events').fetchone()
            self._happen(order, shop, item, STEPS[0])
        self.on_event()
        return self.read(order)

    def advance(self, order: int) -> dict | None:
        """The order a step further; None if that was the last."""
        with self.lock, self.database:
            known = self.read(order)
            done = len(known["events"])
            if done == len(STEPS):
                return None
            self._happen(order, known["shop"], known["item"], STEPS[done])
        self.on_event()
        return self.read(order)

    def read(self, order: int) -> dict:
        rows = self._select('WHERE "order" = ? ORDER BY number', order)
        if not rows:
            raise Unknown(order)
        return {"order": order, "shop": rows[0]["shop"], "item": rows[0]["item"], "events": rows}

    def untold(self) -> list[dict]:
        return self._select("WHERE NOT is_told ORDER BY number LIMIT 100")

    def told(self, events: list[dict]) -> None:
        with self.lock, self.database:
            numbers = [(event["number"],) for event in events]
            self.database.executemany("UPDATE events SET is_told = 1 WHERE number = ?", numbers)

    def tell_again(self) -> None:
        """What was told of late may have been lost with the connection, or with the gateway."""
        with self.lock, self.database:
            since = (time.time() - AGAIN_S) * 1000
            self.database.execute("UPDATE events SET is_told = 0 WHERE committed_ms > ?", (since,))

    def _happen(self, order: int, shop: str, item: str, step: str) -> None:
        row = (None, uuid.uuid4().hex, order, shop, item, step, time.time() * 1000)
        self.database.execute(f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _select(self, clauses: str, *values: int) -> list[dict]:
        with self.lock:
            return [dict(row) for row in self.database.execute(f"SELECT {COLUMNS} FROM events {clauses}", values)]


class Desk(BaseHTTPRequestHandler):
    """Takes the requests."""

    orders: Orders
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if not 0 <= length <= BODY_MAX:
            self.close_connection = True
            return self._answer(413, {"error": "too long"})
        body = self.rfile.read(length)
        match self.path.strip("/").split("/"):
            case ["orders"]:
                asked = json.loads(body)
                if not NAME.fullmatch(asked["shop"]):
                    return self._answer(422, {"error": f"there is no shop {asked['shop']!r}"})
                order = self.orders.place(asked["shop"], str(asked["item"]))
                self._answer(201, order, Location=f"/orders/{order['order']}")
            case ["orders", order, "next"]:
                order = self.orders.advance(int(order))
                self._answer(200, order) if order else self._answer(409, {"error": "it has been shipped"})
            case _:
                self._answer(404, {"error": "no such thing"})

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["orders", order]:
                self._answer(200, self.orders.read(int(order)))
            case _:
                self._answer(404, {"error": "no such thing"})

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except Unknown:
            self._answer(404, {"error": "no such order"})
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, {"error": repr(error)})

    def _answer(self, status: int, document: dict, **fields: str) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


async def tell(orders: Orders, bus: nats.NATS, has_news: asyncio.Event) -> None:
    """Publishes what has happened, in its order, to those who follow the order and to those who follow the shop."""
    while bus.is_connected:
        has_news.clear()
        events = orders.untold()
        for event in events:
            headers = {"Nats-Msg-Id": event["id"], "Tg-Event": "order"}
            payload = json.dumps(event).encode()
            await bus.publish(f"orders.{event['order']}", payload, headers=headers)
            await bus.publish(f"shop.{event['shop']}", payload, headers=headers)
        if events:
            # nats-py may write a PING before what waits to be written; the second PING comes after it.
            await bus.flush()
            await bus.flush()
            orders.told(events)
        else:
            await has_news.wait()


async def keep_telling(orders: Orders, address: str, has_news: asyncio.Event) -> None:
    """A connection after the other. The package's own reconnecting would first send what it had not sent before, and so out of
    order if all before that has to be told again, because the gateway is another."""

    async def wake(*_: object) -> None:
        has_news.set()

    while True:
        try:
            bus = await nats.connect(address, allow_reconnect=False, closed_cb=wake, error_cb=wake)
            orders.tell_again()
            await tell(orders, bus, has_news)
        except (nats.errors.Error, OSError):
            pass
        await asyncio.sleep(RECONNECT_S)


async def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    path = sys.argv[3] if len(sys.argv) > 3 else "orders.sqlite"
    loop, has_news = asyncio.get_running_loop(), asyncio.Event()
    Desk.orders = orders = Orders(path, lambda: loop.call_soon_threadsafe(has_news.set))
    desk = ThreadingHTTPServer(("127.0.0.1", port), Desk)
    threading.Thread(target=desk.serve_forever, daemon=True).start()
    print(f"orders: taken at http://127.0.0.1:{desk.server_port} and told to {address}", flush=True)
    await keep_telling(orders, address, has_news)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
