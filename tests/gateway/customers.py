"""Customers of the shop of docs/edge.md, who do not stop while its services come and go.

    customers.py PORT    the port of the listener with TLS

Each customer has an address of its own and asks 20 times a second. Each line on stdin ends a phase: what was asked in it, and what of
that was lost, is printed as JSON.

    page    GET of the web application          order   POST there
    report  GET of the reports, with a login    chat    a message that comes back, on a WebSocket
    event   an event stream of the gateway
"""

import http.client
import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter, defaultdict

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PORT = int(sys.argv[1])
CUSTOMERS = {"page": 8, "order": 4, "report": 4, "chat": 8, "event": 4}
PAUSE_S = 0.05
# Longer than a service hangs.
PATIENCE_S = 30

TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE

guard = threading.Lock()
asked = Counter()
lost = defaultdict(Counter)
slowest_ms = Counter()


def count(kind, began, loss=None):
    with guard:
        asked[kind] += 1
        slowest_ms[kind] = max(slowest_ms[kind], round((time.monotonic() - began) * 1000))
        if loss is not None:
            lost[kind][str(loss)] += 1


class Customer:
    """One browser: an address, its cookies, a connection that stays open."""

    def __init__(self, address):
        self.address = address
        self.cookies = {}
        self.connection = None

    def ask(self, method, path, body=None):
        """The status, and None if the connection broke before an answer."""
        if self.connection is None:
            self.connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=TLS, source_address=(self.address, 0), timeout=PATIENCE_S)
        try:
            cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            self.connection.request(method, path, body, {"Host": "shop.example", "Cookie": cookies})
            answer = self.connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return None
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                name, _, value = value.split(";")[0].partition("=")
                self.cookies[name] = value
        if answer.will_close:
            self.connection.close()
            self.connection = None
        return answer.status

    def login(self):
        assert self.ask("GET", "/login") == 204 and "session" in self.cookies, self.cookies
        return self

    def header(self):
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}


def requests(kind, customer, method, path, body=None):
    while True:
        began = time.monotonic()
        status = customer.ask(method, path, body)
        count(kind, began, None if status == 200 else status)
        time.sleep(PAUSE_S)


def chat(customer):
    while True:
        began = time.monotonic()
        try:
            raw = socket.create_connection(("127.0.0.1", PORT), source_address=(customer.address, 0))
            with connect("wss://shop.example/chat", sock=raw, ssl=TLS, additional_headers=customer.header()) as chat:
                while True:
                    began = time.monotonic()
                    chat.send("hello")
                    count("chat", began, None if chat.recv(PATIENCE_S) == "hello" else "another message")
                    time.sleep(PAUSE_S)
        except ConnectionClosed as closed:
            count("chat", began, f"closed {closed.rcvd.code if closed.rcvd else 1006}")
        except InvalidStatus as refused:
            count("chat", began, refused.response.status_code)
        time.sleep(PAUSE_S)


def events(customer):
    while True:
        began = time.monotonic()
        connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=TLS, source_address=(customer.address, 0))
        connection.request("GET", "/events/orders/1", None, {"Host": "shop.example", **customer.header()})
        answer = connection.getresponse()
        if answer.status != 200:
            count("event", began, answer.status)
            continue
        count("event", began)
        while answer.read1(4096):
            pass
        count("event", began, "ended")


WORK = {
    "page": lambda customer: requests("page", customer, "GET", "/small.txt"),
    "order": lambda customer: requests("order", customer, "POST", "/order", "tea"),
    "report": lambda customer: requests("report", customer, "GET", "/reports/headers"),
    "chat": chat,
    "event": events,
}

number = 0
for kind, customers in CUSTOMERS.items():
    for _ in range(customers):
        number += 1
        customer = Customer(f"127.0.1.{number}").login()
        threading.Thread(target=WORK[kind], args=[customer], daemon=True).start()
print("open", flush=True)
for _ in sys.stdin:
    with guard:
        told = {kind: {"asked": asked[kind], "slowest_ms": slowest_ms[kind], "lost": dict(lost[kind])} for kind in CUSTOMERS}
        asked.clear()
        lost.clear()
        slowest_ms.clear()
    print(json.dumps(told), flush=True)
