"""Sends messages that have to be acknowledged, through nats-py, the official client of Python: an outcome a line.

usage: demanding.py nats://HOST:PORT
"""

import asyncio
import sys

import nats

DEMANDS = {"acknowledges": "20", "sleeps": "1", "nobody": "1, 3", "misread": "soon"}
PATIENCE_S = 20


async def main():
    client = await nats.connect(sys.argv[1], allow_reconnect=False)
    for user, demand in DEMANDS.items():
        outcome = await client.request(f"tg.user.{user}", b"[1]", PATIENCE_S, headers={"Tg-Ack": demand})
        headers = outcome.headers
        print(f"{user}: {headers['Status']} {headers['Description']}, {headers.get('Tg-User')}", flush=True)
    await client.close()


asyncio.run(main())
