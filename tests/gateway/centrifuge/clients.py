"""The client protocol through centrifuge-python, Centrifugo's own package, with a worker that speaks NATS. Prints `ok CASE`
for each case and exits with 1 at a failure. After the last case it prints `ready` and waits for the gateway's drain.

usage: clients.py HOST:PORT (the gateway) HOST:PORT (its bus)
"""

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
from contextlib import asynccontextmanager

import nats
from centrifuge import Client, ClientEventHandler, ReplyError, SubscriptionEventHandler

GATEWAY, BUS = sys.argv[1:3]
PATIENCE_S = 10
CASES = []


def case(function):
    CASES.append(function)
    return function


class Recorder(ClientEventHandler, SubscriptionEventHandler):
    """Everything that a client or a subscription is told, by kind."""

    def __init__(self):
        self.seen = {}

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        async def record(context):
            self.seen.setdefault(name.removeprefix("on_"), []).append(context)

        return record

    def of(self, kind):
        return self.seen.get(kind, [])

    async def next(self, kind, count=1):
        await until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]


async def until(is_true):
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():
            await asyncio.sleep(0.005)


async def in_force(worker):
    """Its subscriptions are in force: nats-py may write a PING before a SUB that waits to be written, the second PING comes after
    it."""
    await worker.flush()
    await worker.flush()


@asynccontextmanager
async def client(path, address=GATEWAY, **options):
    """A client that has been told to connect, and its events."""
    events = Recorder()
    made = Client(f"ws://{address}{path}", events=events, min_reconnect_delay=0.01, max_reconnect_delay=0.1, **options)
    await made.connect()
    try:
        yield made, events
    finally:
        await made.disconnect()


async def subscribed(made, channel, **options):
    events = Recorder()
    subscription = made.new_subscription(channel, events=events, **options)
    await subscription.subscribe()
    await events.next("subscribed")
    return subscription, events


async def code_of(awaitable):
    """The code that something is refused with."""
    try:
        await awaitable
    except ReplyError as error:
        return error.code
    raise AssertionError("it was not refused")


def token(claims):
    def part(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    signed = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(b"secret", signed, hashlib.sha256))).decode()


@asynccontextmanager
async def relay():
    """Between a client and the gateway: its address, and what cuts it."""
    writers = []
    is_open = True

    async def pipe(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def accept(reader, writer):
        if not is_open:
            return writer.transport.abort()
        host, port = GATEWAY.split(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        writers.extend([writer, up_writer])
        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))

    def cut():
        while writers:
            writers.pop().transport.abort()

    @asynccontextmanager
    async def without():
        nonlocal is_open
        is_open = False
        cut()
        yield
        is_open = True

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield "127.0.0.1:%d" % server.sockets[0].getsockname()[1], cut, without
    finally:
        cut()
        server.close()


@case
async def publish_subscribe(worker):
    async with client("/desk?user=ann") as (ann, _), client("/desk?user=bob") as (bob, _):
        _, events = await subscribed(ann, "room.py")
        await bob.publish("room.py", {"x": 1})
        await worker.publish("room.py", b'{"x":\n2}')
        await worker.publish("room.py", b"plain")
        await events.next("publication", 3)
        publications = [context.pub for context in events.of("publication")]
        assert [pub.data for pub in publications] == [{"x": 1}, {"x": 2}, "plain"], publications
        assert publications[0].info.user == "bob"
        assert [pub.offset - publications[0].offset for pub in publications] == [0, 1, 2]


@case
async def permission(_worker):
    async with client("/desk?user=ann") as (ann, _):
        events = Recorder()
        await ann.new_subscription("secret", events=events).subscribe()
        assert (await events.next("unsubscribed")).code == 103
        assert await code_of(ann.publish("news", 1)) == 103
        assert await code_of(ann.publish("two words", 1)) == 107


@case
async def rpc(_worker):
    async with client("/desk?user=ann") as (ann, _):
        assert (await ann.rpc("echo", {"a": [1.5, None]})).data == {"a": [1.5, None]}
        assert await code_of(ann.rpc("refuse", None)) == 409
    async with client("/lonely") as (lonely, _):
        assert await code_of(lonely.rpc("echo", 1)) == 100
    async with client("/listen") as (listener, _):
        assert await code_of(listener.rpc("echo", 1)) == 104


@case
async def server_side(worker):
    async with client("/desk?user=ann") as (ann, events):
        context = await events.next("connected")
        await events.next("subscribed")
        await worker.publish("news", b'"tide"')
        assert (await events.next("publication")).pub.data == "tide"
        await worker.publish(f"tg.conn.{context.client}.subscribe", b"weather")
        assert (await events.next("subscribed", 2)).channel == "weather"
        await worker.publish(f"tg.conn.{context.client}.unsubscribe", b"weather")
        assert (await events.next("unsubscribed")).channel == "weather"
        await worker.publish(f"tg.conn.{context.client}.close", b"")
        assert (await events.next("disconnected")).code == 3503


@case
async def unsubscribe(worker):
    async with client("/desk?user=ann") as (ann, _):
        subscription, events = await subscribed(ann, "room.gone")
        await subscription.unsubscribe()
        # Answered when it has its place, which is before the next subscription.
        await ann.publish("room.gone", 1)
        await subscription.subscribe()
        await events.next("subscribed", 2)
        await worker.publish("room.gone", b"2")
        assert (await events.next("publication")).pub.data == 2


@case
async def cut(worker):
    async with relay() as (address, cut_now, _), client("/desk?user=ann", address) as (ann, _):
        _, events = await subscribed(ann, "room.pycut")
        cut_now()
        await events.next("subscribed", 2)
        await worker.publish("room.pycut", b"1")
        assert (await events.next("publication")).pub.data == 1


@case
async def recovery(_worker):
    async with (
        relay() as (address, _, without),
        client("/desk?user=ann", address) as (ann, _),
        client("/desk?user=bob") as (bob, _),
    ):
        _, events = await subscribed(ann, "room.kept.py")
        await bob.publish("room.kept.py", 1)
        await events.next("publication")
        async with without():
            await bob.publish("room.kept.py", 2)
            await bob.publish("room.kept.py", 3)
        context = await events.next("subscribed", 2)
        assert context.was_recovering and context.recovered, context
        await bob.publish("room.kept.py", 4)
        await events.next("publication", 4)
        assert [context.pub.data for context in events.of("publication")] == [1, 2, 3, 4]
        async with without():
            for number in range(5, 20):
                await bob.publish("room.kept.py", number)
        context = await events.next("subscribed", 3)
        assert context.was_recovering and not context.recovered and context.data["gap"]["reason"] == "gone", context
        history = await ann.history("room.kept.py", limit=2, reverse=True)
        assert [publication.data for publication in history.publications] == [19, 18], history


@case
async def tokens(_worker):
    refreshes = []

    async def get_token():
        refreshes.append(True)
        return token({"sub": "ann", "exp": int(time.time()) + 600})

    expired = token({"sub": "ann", "exp": int(time.time()) - 1})
    async with client("/token", token=expired, get_token=get_token) as (ann, events):
        await events.next("connected")
        assert (await ann.rpc("whoami", None)).data["user"] == "ann" and refreshes
    async with client("/token", token="x") as (_, events):
        assert (await events.next("disconnected")).code == 3500


@case
async def joins_and_leaves(worker):
    heard = []

    async def hear(message):
        heard.append((message.subject.split(".")[2], json.loads(message.data)["user"]))

    listening = await worker.subscribe("tg.event.*.room.who.py", cb=hear)
    await in_force(worker)
    async with client("/desk?user=bob") as (bob, _):
        _, events = await subscribed(bob, "room.who.py", join_leave=True)
        async with client("/desk?user=ann") as (ann, _):
            await subscribed(ann, "room.who.py")
            join = await events.next("join")
            presence = await ann.presence("room.who.py")
            assert {info.user for info in presence.clients.values()} == {"ann", "bob"}, presence
        leave = await events.next("leave")
        assert (join.info.user, leave.info.user, leave.info.client) == ("ann", "ann", join.info.client)
    await until(lambda: len(heard) == 4)
    assert heard == [("join", "bob"), ("join", "ann"), ("leave", "ann"), ("leave", "bob")], heard
    await listening.unsubscribe()


@case
async def not_available(_worker):
    async with client("/desk?user=ann") as (ann, _):
        assert await code_of(ann.presence("room.1")) == 108


async def serve(worker):
    async def answer(message):
        headers = message.headers
        method = headers.get("Tg-Method")
        if method == "echo":
            await message.respond(message.data)
        elif method == "whoami":
            await message.respond(json.dumps({"user": headers.get("Tg-User")}).encode())
        elif method == "refuse":
            refusal = {"Nats-Service-Error-Code": "409", "Nats-Service-Error": "the seat is taken"}
            await worker.publish(message.reply, b"", headers=refusal)

    await worker.subscribe("tg.service.desk", cb=answer)
    await in_force(worker)


async def main():
    worker = await nats.connect(f"nats://{BUS}", allow_reconnect=False)
    await serve(worker)
    for run in CASES:
        await run(worker)
        print("ok", run.__name__, flush=True)
    async with client("/desk?user=ann") as (_, events):
        await events.next("connected")
        print("ready", flush=True)
        leaving = await events.next("connecting", 2)
        assert (leaving.code, leaving.reason) == (3001, "shutdown"), leaving
    print("ok drain", flush=True)
    await worker.close()


asyncio.run(main())
