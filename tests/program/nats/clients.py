"""The bus through nats-py, the official client of Python: its cases.

usage: clients.py nats://USER:PASSWORD@HOST:PORT
"""

import asyncio
import sys
from collections import Counter
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import nats
from nats.errors import MaxPayloadError, NoRespondersError

from cases import PATIENCE_S, case, run_all

URL = sys.argv[1]


@asynccontextmanager
async def connected(**options):
    """A connection that tells the test of every error instead of logging it."""
    errors = []

    async def on_error(error):
        errors.append(error)

    client = await nats.connect(URL, error_cb=on_error, allow_reconnect=False, **options)
    try:
        yield client
        assert not errors, errors
    finally:
        await client.close()


async def in_force(client):
    """Its subscriptions are in force. A flush does not say so: nats-py writes the PING at once, and a SUB that waits for its
    flusher comes behind it. What is published waits behind the SUB."""
    probe = await client.subscribe(client.new_inbox())
    await client.publish(probe.subject, b"")
    await probe.next_msg(PATIENCE_S)
    await probe.unsubscribe()


async def payloads(subscription, count):
    return [(await subscription.next_msg(PATIENCE_S)).data for _ in range(count)]


async def until(is_true):
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():
            await asyncio.sleep(0.005)


@case
async def publish_subscribe():
    async with connected() as worker, connected() as publisher:
        subscription = await worker.subscribe("py.one")
        await in_force(worker)
        await publisher.publish("py.two", b"not for us")
        await publisher.publish("py.one", b"hello")
        message = await subscription.next_msg(PATIENCE_S)
        assert (message.subject, message.data, message.reply) == ("py.one", b"hello", ""), message


@case
async def order():
    async with connected() as worker, connected() as publisher:
        subscription = await worker.subscribe("py.order")
        await in_force(worker)
        sent = [b"%d" % number for number in range(5000)]
        for payload in sent:
            await publisher.publish("py.order", payload)
        assert await payloads(subscription, len(sent)) == sent


@case
async def wildcard_token():
    async with connected() as client:
        subscription = await client.subscribe("py.*.location")
        for subject in ["py.location", "py.1.location", "py.1.2.location", "py.2.location", "py.2.location.x"]:
            await client.publish(subject, subject.encode())
        assert sorted(await payloads(subscription, 2)) == [b"py.1.location", b"py.2.location"]
        await client.flush()
        assert subscription.pending_msgs == 0


@case
async def wildcard_rest():
    async with connected() as client:
        subscription = await client.subscribe("py.rest.>")
        for subject in ["py.rest", "py.rest.1", "py.other.1", "py.rest.1.2.3"]:
            await client.publish(subject, subject.encode())
        assert sorted(await payloads(subscription, 2)) == [b"py.rest.1", b"py.rest.1.2.3"]
        await client.flush()
        assert subscription.pending_msgs == 0


@case
async def queue_group():
    async with connected() as one, connected() as two, connected() as publisher:
        everything = asyncio.Queue()

        def member(name):
            async def receive(message):
                await everything.put((name, message.data))

            return receive

        for name, client, queue in [("a1", one, "a"), ("a2", one, "a"), ("a3", two, "a"), ("b1", two, "b"), ("all", two, "")]:
            await client.subscribe("py.jobs", queue=queue, cb=member(name))
        await in_force(one)
        await in_force(two)
        jobs = [b"%d" % number for number in range(300)]
        for job in jobs:
            await publisher.publish("py.jobs", job)
        received = [await asyncio.wait_for(everything.get(), PATIENCE_S) for _ in range(3 * len(jobs))]
        for group in "a", "b":
            taken = Counter(payload for name, payload in received if name.startswith(group) and name != "all")
            assert taken == Counter(jobs), f"each message goes to one member of {group}"
        assert [payload for name, payload in received if name == "all"] == jobs
        shares = Counter(name for name, _ in received)
        assert all(shares[name] > 0 for name in ["a1", "a2", "a3"]), shares
        await publisher.flush()
        assert everything.empty()


@case
async def request_reply():
    async with connected() as worker, connected() as client:
        async def answer(message):
            await message.respond(message.data.upper())

        await worker.subscribe("py.upper", cb=answer)
        await in_force(worker)
        replies = await asyncio.gather(*(client.request("py.upper", b"a%d" % n, timeout=PATIENCE_S) for n in range(50)))
        assert [reply.data for reply in replies] == [b"A%d" % n for n in range(50)]
        reply = await client.request("py.upper", b"old", timeout=PATIENCE_S, old_style=True)
        assert reply.data == b"OLD"


@case
async def no_responders():
    async with connected() as client:
        try:
            await client.request("py.nobody", b"?", timeout=PATIENCE_S)
        except NoRespondersError:
            return
        raise AssertionError("somebody answered")


@case
async def headers():
    async with connected() as client:
        subscription = await client.subscribe("py.headers")
        sent = {"Tg-Event": "move", "Other": "a: b; ü"}
        await client.publish("py.headers", b"x", headers=sent)
        await client.publish("py.headers", b"", headers={"Only": "header"})
        await client.publish("py.headers", b"bare")
        received = [await subscription.next_msg(PATIENCE_S) for _ in range(3)]
        assert [message.headers for message in received] == [sent, {"Only": "header"}, None]
        assert [message.data for message in received] == [b"x", b"", b"bare"]


@case
async def auto_unsubscribe():
    async with connected() as client:
        subscription = await client.subscribe("py.max")
        await subscription.unsubscribe(limit=2)
        control = await client.subscribe("py.max")
        for number in range(4):
            await client.publish("py.max", b"%d" % number)
        assert await payloads(control, 4) == [b"0", b"1", b"2", b"3"]
        assert await payloads(subscription, 2) == [b"0", b"1"]
        assert subscription.pending_msgs == 0


@case
async def unsubscribe():
    async with connected() as client:
        subscription = await client.subscribe("py.gone")
        control = await client.subscribe("py.gone")
        await subscription.unsubscribe()
        await client.publish("py.gone", b"x")
        assert await payloads(control, 1) == [b"x"]
        assert subscription.pending_msgs == 0


@case
async def drain():
    async with connected() as publisher:
        worker = await nats.connect(URL, allow_reconnect=False)
        received = []
        gate = asyncio.Event()

        async def receive(message):
            await gate.wait()
            received.append(message.data)

        subscription = await worker.subscribe("py.drain", cb=receive)
        await in_force(worker)
        for number in range(100):
            await publisher.publish("py.drain", b"%d" % number)
        # One of them is in the callback.
        await until(lambda: subscription.pending_msgs == 99)
        draining = asyncio.create_task(worker.drain())
        gate.set()
        await draining
        assert received == [b"%d" % number for number in range(100)], len(received)
        assert worker.is_closed


@case
async def verbose_and_pedantic():
    async with connected(verbose=True, pedantic=True) as client:
        subscription = await client.subscribe("py.verbose.*")
        await client.publish("py.verbose.1", b"x", headers={"A": "b"})
        await client.flush()
        assert await payloads(subscription, 1) == [b"x"]


@case
async def no_echo():
    async with connected(no_echo=True) as silent, connected() as other:
        own = await silent.subscribe("py.echo")
        others = await other.subscribe("py.echo")
        # What it publishes does not come back to it, so it asks twice: the second PING is behind everything.
        await silent.flush()
        await silent.flush()
        await in_force(other)
        await silent.publish("py.echo", b"own")
        assert await payloads(others, 1) == [b"own"]
        await other.publish("py.echo", b"other's")
        assert await payloads(own, 1) == [b"other's"]


@case
async def max_payload():
    async with connected() as client:
        subscription = await client.subscribe("py.large")
        largest = bytes(range(256)) * (client.max_payload // 256)
        await client.publish("py.large", largest)
        assert await payloads(subscription, 1) == [largest]
        try:
            await client.publish("py.large", largest + b"x")
        except MaxPayloadError:
            return
        raise AssertionError("the client takes more than the server announced")


@case
async def text_and_binary():
    async with connected() as client:
        subscription = await client.subscribe("py.bytes")
        sent = ["grüße 🌊".encode(), bytes(range(256)), b"\r\n", b"MSG x 1 1\r\nx\r\n", b""]
        for payload in sent:
            await client.publish("py.bytes", payload)
        assert await payloads(subscription, len(sent)) == sent


@case
async def slips():
    async with connected() as client:
        subscription = await client.subscribe("py.>")
        for slip in ["py..7", ".py", "py.", "*", "py.*.7"]:
            await client.publish(slip, b"lost")
        try:
            await client.request("py..7", b"?", timeout=PATIENCE_S)
            raise AssertionError("somebody answered")
        except NoRespondersError:
            pass
        await client.publish("py.7", b"x")
        # nats-server hands on what was published to a pattern, and Tidegate does not.
        while (await subscription.next_msg(PATIENCE_S)).data != b"x":
            pass
        assert client.is_connected


@case
async def wrong_credentials():
    parts = urlsplit(URL)
    wrong = f"nats://{parts.username}:wrong@{parts.hostname}:{parts.port}"
    for url in [wrong, f"nats://{parts.hostname}:{parts.port}"]:
        errors = []

        async def on_error(error):
            errors.append(str(error).lower())

        try:
            await nats.connect(url, error_cb=on_error, allow_reconnect=False, max_reconnect_attempts=0, connect_timeout=PATIENCE_S)
        except Exception as error:
            errors.append(str(error).lower())
        else:
            raise AssertionError("connected")
        assert any("authorization violation" in error for error in errors), errors


asyncio.run(run_all())
