"""Clients of the rooms of docs/permissions.md, whose members the application knows.

    asked.py PORT ANN BOB EVE    with the token of each: ann and bob are members of room 7, eve reads it
"""

import http.client
import json
import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PORT = int(sys.argv[1])
TOKENS = dict(zip(["ann", "bob", "eve"], sys.argv[2:], strict=True))
SECONDS = 10


def expect(what, heard, expected):
    assert heard == expected, f"{what}: {heard!r} instead of {expected!r}"


def fields(name):
    return {"Authorization": f"Bearer {TOKENS[name]}"}


def stream(name, room):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=SECONDS)
    connection.request("GET", f"/events/{room}", None, fields(name))
    answer = connection.getresponse()
    if answer.status != 200:
        connection.close()
    return answer


def socket(name, path):
    return connect(f"ws://127.0.0.1:{PORT}{path}", additional_headers=fields(name), open_timeout=SECONDS)


def status_of(name, path):
    try:
        socket(name, path).close()
    except InvalidStatus as refused:
        return refused.response.status_code
    return 101


def command(client, number, request):
    client.send(json.dumps({"id": number, **request}))
    while True:
        for line in client.recv(SECONDS).splitlines():
            said = json.loads(line)
            if said.get("id") == number:
                return said.get("error", {}).get("code", 0)


for name, room, status in [("ann", "7", 200), ("eve", "7", 200), ("ann", "8", 403), ("eve", "8", 403)]:
    expect(f"the stream of {name} in room {room}", stream(name, room).status, status)
expect("a socket elsewhere", status_of("ann", "/ws/8"), 403)

heard = stream("eve", "7")
with socket("bob", "/ws/7") as writer, socket("eve", "/ws/7") as reader:
    writer.send("hello")
    expect("the message", reader.recv(SECONDS), "hello")
    while (line := heard.readline().decode().strip()) != "data: hello":
        assert not line.startswith("data:"), line
    reader.send("intruder")
    try:
        reader.recv(SECONDS)
    except ConnectionClosed as closed:
        expect("the end", closed.rcvd.code, 1008)
    else:
        raise AssertionError("a reader has written")

for name, codes in [("ann", [0, 0, 103]), ("eve", [0, 103, 103])]:
    with socket(name, "/connection/websocket") as client:
        expect("connect", command(client, 1, {"connect": {}}), 0)
        answers = [
            command(client, 2, {"subscribe": {"channel": "room.7"}}),
            command(client, 3, {"publish": {"channel": "room.7", "data": {}}}),
            command(client, 4, {"subscribe": {"channel": "room.8"}}),
        ]
        expect(f"the commands of {name}", answers, codes)
