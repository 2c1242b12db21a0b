"""Finishes bookings: a second's work for each, as many at a time as come.

    .venv/bin/python examples/booking/worker.py [nats://127.0.0.1:4222] [SECONDS]

Several of these share the bookings; one that dies leaves what it had to the others, so a booking may be begun twice. Its id
tells: whoever charges a card does so under `Tg-Request`.
"""

import asyncio
import json
import random
import sys
import time

import nats
from nats.aio.msg import Msg


async def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.8
    bus = await nats.connect(address)
    at_work: set[asyncio.Task[None]] = set()

    async def book(message: Msg) -> None:
        request, passenger = message.headers["Tg-Request"], message.headers["Tg-User"]
        booking = json.loads(message.data)
        # The airline's system takes its time: half of it, or half as much again.
        await asyncio.sleep(seconds * random.uniform(0.5, 1.5))
        headers = {"Content-Type": "application/json"}
        if booking["seat"].startswith("13"):
            answer = {"passenger": passenger, "error": "there is no row 13"}
            headers["Tg-Status"] = "failed"
        else:
            answer = {"passenger": passenger, "seat": booking["seat"], "ticket": request[:8].upper()}
        answer["finished_ms"] = time.time() * 1000
        await bus.publish(message.reply, json.dumps(answer).encode(), headers=headers)

    async def on_message(message: Msg) -> None:
        # A task for each: the next booking does not wait for this one.
        task = asyncio.create_task(book(message))
        at_work.add(task)
        task.add_done_callback(at_work.discard)

    await bus.subscribe("tg.service.bookings", queue="workers", cb=on_message)
    # nats-py may write a PING before a SUB that waits to be written; the second PING comes after it.
    await bus.flush()
    await bus.flush()
    print(f"booking: working for {address}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
