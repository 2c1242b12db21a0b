"""Runs Autobahn's cases of groups 1 to 10 against an echo server and prints what came of each as one JSON object.

usage: run_cases.py HOST:PORT/PATH [CERTIFICATE]

With a certificate (PEM) the server is spoken to through TLS. kosoku speaks plain WebSocket only, so a relay stands in
between: it ends a connection to kosoku when the server ends its own, and the other way round.
"""

import asyncio
import json
import os
import ssl
import sys

from kosoku import FailureError, run_fuzzingclient

# There is no group 8, and what follows 10 is compression, which the gateway does not negotiate.
#
# Most cases wait for something, and a few of them may wait at the same time: they judge what is there within a second.
# Group 9 loads the server with messages of 16 MiB, so that in a debug build its neighbours come seconds late: it goes last.
PASSES = [
    ([f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)], 8),
    (["9.*"], 2),
]


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass  # The cases end connections in every way there is.
    finally:
        writer.close()


async def start_relay(host, port, certificate):
    context = ssl.create_default_context(cafile=certificate)

    async def relay(near_reader, near_writer):
        far_reader, far_writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
        await asyncio.gather(pump(near_reader, far_writer), pump(far_reader, near_writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1]


async def main(target, certificate=None):
    address, _, path = target.partition("/")
    if certificate:
        host, _, port = address.rpartition(":")
        address = f"127.0.0.1:{await start_relay(host, int(port), certificate)}"
    results = []
    for groups, concurrency in PASSES:
        try:
            results += await run_fuzzingclient(f"ws://{address}/{path}", groups, concurrency=concurrency)
        except FailureError as failure:
            results += failure.results
    cases = [
        {
            "id": result.case_id,
            "passed": result.passed,
            "behavior": result.behavior.value,
            "words": f"{result.behavior.value}, {result.behavior_close.value}: {result.result} {result.result_close} "
            f"Received {str(result.received):.500} in {result.duration} ms",
        }
        for result in results
    ]
    print(json.dumps(cases), flush=True)


asyncio.run(main(*sys.argv[1:]))
# kosoku 0.1.0 leaves threads behind, one of which aborts about one interpreter in ten that takes itself apart in order.
# Everything is printed by now, and whatever went wrong before has ended the process with its own status.
os._exit(0)
