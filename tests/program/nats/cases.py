"""Cases of one client against a bus: prints `ok CASE` for each, exits with 1 at a failure."""

import asyncio

PATIENCE_S = 10
CASES = []


def case(function):
    CASES.append(function)
    return function


async def run_all():
    for function in CASES:
        try:
            await asyncio.wait_for(function(), 6 * PATIENCE_S)
        except Exception as error:
            print(f"failed {function.__name__}: {error!r}", flush=True)
            raise
        print(f"ok {function.__name__}", flush=True)
