"""A worker that answers every message of the service "echo" with the same message.

    .venv/bin/python examples/echo.py [nats://127.0.0.1:4222]

Any WebSocket route with `websocket = { service = "echo" }` leads here; several of these share the clients among them.
"""

import asyncio
import sys

import nats


async def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"
    bus = await nats.connect(address)

    async def on_message(message: nats.aio.msg.Msg) -> None:
        headers = message.headers or {}
        # "open" and "close" come too; they have nothing to be echoed.
        if headers.get("Tg-Kind") != "message":
            return
        # Text stays text and binary stays binary. The reply subject is the client's connection.
        answer = {"Tg-Opcode": headers.get("Tg-Opcode", "text")}
        await bus.publish(message.reply, message.data, headers=answer)

    # The queue group makes sure that each message goes to one worker.
    await bus.subscribe("tg.service.echo", queue="workers", cb=on_message)
    # nats-py may write a PING before a SUB that waits to be written; the second PING comes after it.
    await bus.flush()
    await bus.flush()
    print(f"echo: working for {address}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
