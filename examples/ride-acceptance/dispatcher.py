"""Finds a driver for each ride: asks one after the other, and knows at once when one cannot answer.

    .venv/bin/python examples/ride-acceptance/dispatcher.py [nats://127.0.0.1:4222] [DRIVER,DRIVER,...] [SECONDS]

The drivers are those who are near, the nearest first; yours come from an index of places. A driver has so many seconds to answer.
Several dispatchers share the rides. One that dies leaves its rides to the others, who begin anew: a driver may be asked twice
about one ride.
"""

import asyncio
import json
import sys

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

# The outcomes that are no driver's answer, as the gateway says them.
STATUSES = {"408": "no answer in time", "410": "disconnected"}


async def ask(bus: Client, driver: str, ride: dict, seconds: float) -> str:
    """What becomes of the question: "takes", or why not."""
    headers = {"Tg-Timeout": str(int(seconds * 1000))}
    try:
        # The deadline is the gateway's; ours is for a gateway that is gone.
        answer = await bus.request(f"tg.user.{driver}", json.dumps(ride).encode(), seconds + 5, headers=headers)
    except NoRespondersError:
        return "not connected"
    except nats.errors.TimeoutError:
        return "no gateway"
    status = (answer.headers or {}).get("Status")
    if status:
        return STATUSES.get(status, status)
    said = json.loads(answer.data)
    return "takes" if isinstance(said, dict) and said.get("takes") is True else "declines"


async def dispatch(bus: Client, message: Msg, drivers: list[str], seconds: float) -> None:
    request, rider = message.headers["Tg-Request"], message.headers["Tg-User"]
    try:
        ride = {**json.loads(message.data), "ride": request, "rider": rider}
    except (TypeError, ValueError):
        return await answer(bus, message, {"error": "an order is a JSON object"}, "failed")
    asked = []
    for driver in drivers:
        outcome = await ask(bus, driver, ride, seconds)
        asked.append({"driver": driver, "outcome": outcome})
        progress = {"Tg-Event": "progress"}
        await bus.publish(message.headers["Tg-Channel"], json.dumps(asked[-1]).encode(), headers=progress)
        if outcome == "takes":
            # An answer that comes too late counts for nothing, so a driver sets off when it hears this.
            await bus.publish(f"tg.user.{driver}", json.dumps({"yours": request}).encode())
            return await answer(bus, message, {"driver": driver, "asked": asked}, "done")
    await answer(bus, message, {"error": "nobody takes the ride", "asked": asked}, "failed")


async def answer(bus: Client, message: Msg, result: dict, status: str) -> None:
    headers = {"Content-Type": "application/json", "Tg-Status": status}
    await bus.publish(message.reply, json.dumps(result).encode(), headers=headers)


async def main() -> None:
    arguments = sys.argv[1:] + [None] * 3
    address = arguments[0] or "nats://127.0.0.1:4222"
    drivers = (arguments[1] or "ann,bob,cat").split(",")
    seconds = float(arguments[2] or 15)
    bus = await nats.connect(address)
    at_work: set[asyncio.Task[None]] = set()

    async def on_message(message: Msg) -> None:
        # A task for each: the next ride does not wait for this one's drivers.
        task = asyncio.create_task(dispatch(bus, message, drivers, seconds))
        at_work.add(task)
        task.add_done_callback(at_work.discard)

    await bus.subscribe("tg.service.rides", queue="dispatchers", cb=on_message)
    # nats-py may write a PING before a SUB that waits to be written; the second PING comes after it.
    await bus.flush()
    await bus.flush()
    print(f"dispatcher: working for {address}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
