"""Readers of event streams that are in common use: each gets every event at once, and the end as an end.

    python tests/gateway/listen.py FRONT ADMIN PATH CHANNEL      both as host:port; PATH listens to CHANNEL

The next message is published only when the one before has been read, so a reader that waits for more bytes than there are hangs.
A line for each reader that has heard all of them.
"""

import http.client
import sys

import requests
import sseclient
import urllib3

FRONT, ADMIN, PATH, CHANNEL = sys.argv[1:]
URL = f"http://{FRONT}{PATH}"
PATIENCE_S = 10
# Short ones, one that is longer than a reader's buffer, one of several lines.
MESSAGES = ["a", "b", "x" * 20_000, "c\nd", ""] * 3


def publish(message):
    url = f"http://{ADMIN}/api/channels/{CHANNEL}"
    requests.post(url, data=message.encode(), timeout=PATIENCE_S).raise_for_status()


def records(lines):
    """What a client of the standard dispatches (WHATWG HTML, section 9.2.6), from lines without their ends."""
    data = []
    for line in lines:
        if isinstance(line, bytes):
            line = line.decode()
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def response():
    answer = requests.get(URL, stream=True, timeout=PATIENCE_S, headers={"Accept": "text/event-stream"})
    answer.raise_for_status()
    return answer


def requests_lines():
    return records(response().iter_lines())


def requests_lines_one_by_one():
    return records(response().iter_lines(chunk_size=1))


def requests_content():
    return records(split(response().iter_content(chunk_size=None)))


def urllib3_pieces():
    answer = urllib3.PoolManager().request("GET", URL, preload_content=False, timeout=PATIENCE_S)
    return records(split(answer.stream(65536)))


def sseclient_over_requests():
    return (event.data for event in sseclient.SSEClient(response()).events())


def sseclient_over_urllib3():
    answer = urllib3.PoolManager().request("GET", URL, preload_content=False, timeout=PATIENCE_S)
    return (event.data for event in sseclient.SSEClient(answer).events())


def http_client_lines():
    connection = http.client.HTTPConnection(FRONT, timeout=PATIENCE_S)
    connection.request("GET", PATH)
    answer = connection.getresponse()
    # Closing the connection would end the answer too.
    answer.owner = connection
    return records(line.rstrip(b"\n") for line in answer)


def split(pieces):
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines


for reader in [
    requests_lines,
    requests_lines_one_by_one,
    requests_content,
    urllib3_pieces,
    sseclient_over_requests,
    sseclient_over_urllib3,
    http_client_lines,
]:
    heard = reader()
    for message in MESSAGES:
        publish(message)
        got = next(heard)
        assert got == message, f"{reader.__name__}: {got[:80]!r} instead of {message[:80]!r}"
    print(reader.__name__, flush=True)
