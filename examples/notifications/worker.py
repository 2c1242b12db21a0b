"""Sends notifications to users' devices, each once, although it may die at any moment.

    .venv/bin/python examples/notifications/worker.py [nats://127.0.0.1:4222] [OUTBOX]

    request --> put: it is on disk --> answered
                '--> published under its id --> the gateway has taken it --> noted as sent

A worker that dies leaves everything to the next. What was not answered is handed on again, and its id is known to the outbox. What
was not noted is published again, and its id (Nats-Msg-Id) is known to the gateway.
"""

import asyncio
import json
import sys

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from outbox import Outbox

# So many share a transaction, and a round trip to the gateway.
BATCH = 50


def read(message: Msg) -> tuple[str, str, str] | None:
    """Id, user and text; `None` if that is not what was posted."""
    try:
        posted = json.loads(message.data)
        user, text = posted["user"], posted["text"]
    except (KeyError, TypeError, ValueError):
        return None
    # The user becomes a part of the channel's name.
    is_name = isinstance(user, str) and user.replace("-", "").replace("_", "").isalnum()
    return (message.headers["Tg-Request"], user, str(text)) if is_name else None


async def take(bus: Client, outbox: Outbox, messages: list[Msg]) -> None:
    """Puts them into the outbox. Whoever has posted them is told so, and not before."""
    posted = [read(message) for message in messages]
    outbox.put(notification for notification in posted if notification)
    for message, notification in zip(messages, posted):
        headers = {"Tg-Status": "done" if notification else "failed"}
        answer = b'{"kept":true}' if notification else b'{"error":"a notification has a user and a text"}'
        await bus.publish(message.reply, answer, headers=headers)


async def taken(bus: Client) -> None:
    """Returns when the gateway has taken all that was said to it. nats-py may write a PING before what waits to be written; the
    second PING comes after it."""
    await bus.flush()
    await bus.flush()


async def send(bus: Client, outbox: Outbox) -> None:
    """Publishes what may not have been sent, the oldest first."""
    while notifications := outbox.unsent(BATCH):
        for number, name, user, text in notifications:
            headers = {"Nats-Msg-Id": name, "Tg-Event": "notification"}
            await bus.publish(f"user.{user}", json.dumps({"number": number, "text": text}).encode(), headers=headers)
        await taken(bus)
        outbox.sent(notifications[-1])


async def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"
    outbox = Outbox(sys.argv[2] if len(sys.argv) > 2 else "outbox.sqlite")
    bus = await nats.connect(address, max_reconnect_attempts=-1)
    requests = await bus.subscribe("tg.service.notifications", queue="workers")
    await taken(bus)
    print(f"notifications: working for {address}", flush=True)
    # What an earlier worker has left.
    await send(bus, outbox)
    while True:
        messages = [await requests.next_msg(timeout=None)]
        while requests.pending_msgs and len(messages) < BATCH:
            messages.append(await requests.next_msg())
        await take(bus, outbox, messages)
        await send(bus, outbox)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
