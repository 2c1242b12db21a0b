"""An application that sends back what it gets, for gunicorn (wsgi) and uvicorn (asgi); it also has the files of its folder."""

import hashlib
import json
import os


def answer(method, path, body):
    if method in ("POST", "PUT", "PATCH"):
        return 200, "text/plain", hashlib.sha256(body).hexdigest().encode() + b" %d" % len(body)
    file = os.path.join(".", os.path.basename(path))
    if os.path.isfile(file):
        with open(file, "rb") as opened:
            return 200, "application/octet-stream", opened.read()
    return 404, "text/plain", b"there is no " + path.encode()


def wsgi(environ, start_response):
    source = environ["wsgi.input"]
    body = source.read() if environ["REQUEST_METHOD"] != "GET" else b""
    status, kind, content = answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], body)
    start_response(f"{status} Done", [("Content-Type", kind), ("X-Path", environ["PATH_INFO"])])
    # In pieces: without a length, gunicorn sends chunks.
    return [content[at : at + 65536] for at in range(0, len(content), 65536)] or [b""]


async def echo(receive, send):
    """Sends back the messages of a WebSocket."""
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif event["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})


async def asgi(scope, receive, send):
    if scope["type"] == "websocket":
        return await echo(receive, send)
    if scope["type"] != "http":
        return
    if scope["path"].endswith("/headers"):
        named = json.dumps({name.decode(): value.decode() for name, value in scope["headers"]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(named))]})
        return await send({"type": "http.response.body", "body": named})
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    status, kind, content = answer(scope["method"], scope["path"], body)
    headers = [(b"content-type", kind.encode()), (b"x-path", scope["path"].encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for at in range(0, len(content), 65536):
        await send({"type": "http.response.body", "body": content[at : at + 65536], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
