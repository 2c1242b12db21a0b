"""Asks clients through nats-py, the official client of Python: an outcome a line.

usage: asking.py nats://HOST:PORT
"""

import asyncio
import sys

import nats
from nats.errors import NoRespondersError

USERS = ["nobody", "answers", "leaves", "waits"]
PATIENCE_S = 20


async def outcome(client, user):
    try:
        headers = {"Tg-Timeout": "500" if user == "waits" else "20000"}
        answer = await client.request(f"tg.user.{user}", b'{"ride":7}', PATIENCE_S, headers=headers)
    except NoRespondersError:
        return "no responders"
    headers = answer.headers
    return headers.get("Status") or f"{answer.data.decode()} by {headers['Tg-User']}"


async def main():
    client = await nats.connect(sys.argv[1], allow_reconnect=False)
    for user in USERS:
        print(f"{user}: {await outcome(client, user)}", flush=True)
    await client.close()


asyncio.run(main())
