"""The bus through nats-core, the newer official client of Python: its cases.

usage: core.py nats://USER:PASSWORD@HOST:PORT
"""

import asyncio
import sys
from urllib.parse import urlsplit

if not hasattr(asyncio, "QueueShutDown"):
    # nats-core asks for Python 3.13, Debian 12 has 3.11; this is all of it that is missing there.
    class QueueShutDown(Exception):
        pass

    class Queue(asyncio.Queue):
        def shutdown(self, immediate=False):
            self.put_nowait(QueueShutDown)

        async def get(self):
            item = await super().get()
            if item is QueueShutDown:
                self.put_nowait(QueueShutDown)
                raise QueueShutDown
            return item

    asyncio.QueueShutDown, asyncio.Queue = QueueShutDown, Queue

import nats.client
from nats.client.errors import NoRespondersError

from cases import PATIENCE_S, case, run_all

URL = urlsplit(sys.argv[1])


def connected():
    """nats-core takes no credentials from an address."""
    url = f"nats://{URL.hostname}:{URL.port}"
    return nats.client.connect(url, user=URL.username, password=URL.password, allow_reconnect=False)


async def payloads(subscription, count):
    return [(await asyncio.wait_for(subscription.next(), PATIENCE_S)).data for _ in range(count)]


@case
async def greeting():
    async with await connected() as client:
        info = client.server_info
        assert info.server_id and info.version and info.host == "127.0.0.1" and info.port > 0, info
        assert info.headers and info.max_payload > 0 and info.proto == 1, info
        assert 0 < info.client_id < 2**53, info


@case
async def order():
    async with await connected() as worker, await connected() as publisher:
        subscription = await worker.subscribe("core.order")
        await worker.flush()
        sent = [b"%d" % number for number in range(1000)]
        for payload in sent:
            await publisher.publish("core.order", payload)
        assert await payloads(subscription, len(sent)) == sent


@case
async def wildcards_and_queues():
    async with await connected() as worker, await connected() as publisher:
        everything = await worker.subscribe("core.>")
        members = [await worker.subscribe("core.*", queue="q") for _ in range(2)]
        await worker.flush()
        await publisher.publish("core.1", b"x", headers={"A": "b"})
        assert await payloads(everything, 1) == [b"x"]
        await worker.flush()
        assert sum(member.pending[0] for member in members) == 1


@case
async def request_reply():
    async with await connected() as worker, await connected() as client:
        subscription = await worker.subscribe("core.upper")
        await worker.flush()

        async def answer():
            async for message in subscription:
                await worker.publish(message.reply, message.data.upper())

        answering = asyncio.create_task(answer())
        for number in range(20):
            reply = await client.request("core.upper", b"a%d" % number, timeout=PATIENCE_S)
            assert reply.data == b"A%d" % number
        answering.cancel()


@case
async def no_responders():
    async with await connected() as client:
        try:
            await client.request("core.nobody", b"?", timeout=PATIENCE_S)
        except NoRespondersError:
            return
        raise AssertionError("somebody answered")


asyncio.run(run_all())
