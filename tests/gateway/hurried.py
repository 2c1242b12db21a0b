"""Clients in a hurry, from addresses of their own: requests, websockets and sseclient against the limits of a gateway.

hurried.py PORT    prints a line for each client: what it did, and what it got
"""

import socket
import sys
import time

import requests
from requests.adapters import HTTPAdapter
from sseclient import SSEClient
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PATIENCE_S = 20
PORT = int(sys.argv[1])


class From(HTTPAdapter):
    """Connects from this address."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args, **named):
        super().init_poolmanager(*args, source_address=(self.address, 0), **named)


def session(address):
    made = requests.Session()
    made.mount("http://", From(address))
    return made


def open_socket(address, path):
    sock = socket.create_connection(("127.0.0.1", PORT), PATIENCE_S, source_address=(address, 0))
    return connect(f"ws://127.0.0.1:{PORT}{path}", sock=sock, open_timeout=PATIENCE_S, ping_interval=None)


def status_of(address, path):
    try:
        open_socket(address, path).close()
        return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def ask(address, path="/nothing"):
    return session(address).get(f"http://127.0.0.1:{PORT}{path}", timeout=PATIENCE_S)


def main():
    bystander = open_socket("127.0.0.9", "/ws/bystander")

    answers = [ask("127.0.0.2") for _ in range(6)]
    waits = [0 < int(answer.headers["Retry-After"]) <= 900 for answer in answers if answer.status_code == 429]
    print("requests:", *[answer.status_code for answer in answers], waits)

    stream = ask("127.0.0.2", "/sse/1")
    print("events:", stream.status_code, stream.headers["Content-Type"].split(";")[0], "retry: " in stream.text)
    print("events:", [event.data for event in SSEClient(stream).events()])

    print("handshake of a websocket:", status_of("127.0.0.2", "/ws/1"), status_of("127.0.0.3", "/ws/1"))

    opened = [open_socket("127.0.0.4", "/ws/1") for _ in range(3)]
    print("websockets:", len(opened), status_of("127.0.0.4", "/ws/1"))
    opened.pop().close()
    deadline = time.monotonic() + PATIENCE_S
    while (status := status_of("127.0.0.4", "/ws/1")) != 101 and time.monotonic() < deadline:
        pass
    print("one closed, one more:", status)

    talker = opened.pop()
    for number in range(30):
        talker.send(f"message {number}")
    heard = [talker.recv(PATIENCE_S) for _ in range(30)]
    print("messages:", heard == [f"message {number}" for number in range(30)])

    shouter = open_socket("127.0.0.5", "/strict/1")
    try:
        for number in range(4):
            shouter.send(f"shout {number}")
        while True:
            shouter.recv(PATIENCE_S)
    except ConnectionClosed as closed:
        print("shouts:", closed.rcvd.code, closed.rcvd.reason)

    bystander.send("still here")
    print("bystander:", bystander.recv(PATIENCE_S))


main()
