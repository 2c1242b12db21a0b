"""What h11, gunicorn and waitress read in bytes that a server has got: the requests, and whether something is left.

Input: a JSON list of texts in hex. Output: for each of them and each parser a list of [method, target, SHA-256 of the body], in which an
error is a text.
"""

import hashlib
import json
import sys

import h11
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData
from gunicorn.http.parser import RequestParser
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser


def digest(body):
    return hashlib.sha256(body).hexdigest()


def by_h11(data):
    found, request, body = [], None, b""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    connection.receive_data(b"")
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return found + [str(error)]
        if isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            found.append([request.method.decode(), request.target.decode(), digest(body)])
            connection.send(h11.Response(status_code=204, headers=[]))
            connection.send(h11.EndOfMessage())
        elif event is h11.PAUSED:
            connection.start_next_cycle()
        else:
            return found


def by_gunicorn(data):
    found = []
    try:
        for request in RequestParser(Config(), iter([data]), ("127.0.0.1", 1)):
            found.append([request.method, request.uri, digest(request.body.read())])
    except (NoMoreData, StopIteration):
        pass
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
    return found


def by_waitress(data):
    found = []
    while data:
        parser = HTTPRequestParser(Adjustments())
        while data and not parser.completed:
            used = parser.received(data)
            data = data[used:]
        if not parser.completed:
            return found + ["a part of a request"]
        if parser.error:
            return found + [str(parser.error.body)]
        # A line end before a request is none.
        if parser.empty:
            continue
        method, target, _ = parser.first_line.split(b" ")
        found.append([method.decode(), target.decode(), digest(parser.get_body_stream().read())])
    return found


every = [bytes.fromhex(text) for text in json.load(sys.stdin)]
json.dump([[by(data) for by in (by_h11, by_gunicorn, by_waitress)] for data in every], sys.stdout)
