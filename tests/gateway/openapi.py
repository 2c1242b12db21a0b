"""Runs docs/openapi.json against a gateway: each operation's example, and its errors.

    python tests/gateway/openapi.py FRONT ADMIN TOKEN OTHER      both as host:port; OTHER is a token without any scope but "metrics"

A client named ann is connected at FRONT, and answers questions and acknowledges messages. Each answer must have a documented status, a
media type that is documented for it, and fit its schema. The last line says how many requests were made.
"""

import json
import pathlib
import sys
import threading
import time
import urllib.parse

import requests
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

FRONT, ADMIN, TOKEN, OTHER = sys.argv[1:]
FILE = pathlib.Path(__file__).parents[2] / "docs" / "openapi.json"
PATIENCE_S = 10
DOCUMENT = json.loads(FILE.read_text())
HTTP = requests.Session()
asked = 0


class Client:
    """ann: answers and acknowledges until it is disconnected."""

    def __init__(self):
        self.socket = connect(f"ws://{FRONT}/asked?user=ann")
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            for text in self.socket:
                said = json.loads(text) if text.startswith('{"tg"') else {}
                if said.get("tg") == "question":
                    self.socket.send(json.dumps({"tg": "answer", "id": said["id"], "data": {"takes": True}}))
                if said.get("tg") == "message":
                    self.socket.send(json.dumps({"tg": "ack", "id": said["id"]}))
        except ConnectionClosed:
            pass


def resolved(node):
    while "$ref" in node:
        found = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def connected():
    """The id of ann's connection, once it is known."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = HTTP.get(f"http://{ADMIN}/api/users/ann", headers={"Authorization": f"Bearer {TOKEN}"}).json()
        if found["connected"]:
            return found["connected"][0]["conn"]
    raise TimeoutError("ann is not connected")


def examples(operation, other):
    """Parameters by place and name, with these instead of the examples."""
    found = {"path": {}, "query": {}, "header": {}}
    for parameter in map(resolved, operation.get("parameters", [])):
        value = other.get(parameter["name"], parameter.get("example"))
        if value is not None:
            found[parameter["in"]][parameter["name"]] = str(value)
    return found


def send(path, method, operation, other, fields, token=TOKEN):
    """Asks, checks the answer against the document, and returns its status."""
    global asked
    asked += 1
    values = examples(operation, other)
    target = path
    for name, value in values["path"].items():
        target = target.replace("{" + name + "}", urllib.parse.quote(value, safe=""))
    body = None
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        example = other.get("body", content["example"])
        body = json.dumps(example) if kind == "application/json" else example
    headers = values["header"] | fields | ({"Authorization": f"Bearer {token}"} if token else {})
    answer = HTTP.request(method, f"http://{ADMIN}{target}", params=values["query"], headers=headers, data=body, timeout=PATIENCE_S)
    where = f"{method} {target}: {answer.status_code} {answer.text[:200]!r}"
    assert str(answer.status_code) in operation["responses"], f"{where} is not documented"
    response = resolved(operation["responses"][str(answer.status_code)])
    kind = answer.headers["Content-Type"].split(";")[0]
    assert kind in response["content"], f"{where}: {kind} is not documented"
    value = answer.json() if kind == "application/json" else answer.text
    schema = response["content"][kind]["schema"]
    validator = Draft202012Validator({"$ref": "urn:openapi#/schema"}, registry=registry_of(schema))
    errors = [error.message for error in validator.iter_errors(value)]
    assert not errors, f"{where}: {errors}"
    for name, header in response.get("headers", {}).items():
        assert name in answer.headers or not resolved(header).get("required"), f"{where}: {name} is missing"
    return answer.status_code


def registry_of(schema):
    """The document with this schema at its top, so that references within it are found."""
    contents = {"schema": schema} | DOCUMENT
    return Registry().with_resource("urn:openapi", Resource(contents=contents, specification=DRAFT202012))


def run(path, method, operation):
    client = Client()
    own = {"id": connected()}
    if any(resolved(parameter)["name"] == "Tg-Ack" for parameter in operation.get("parameters", [])):
        assert send(path, method, operation, own, {"Tg-Ack": "30"}) == 200
        assert send(path, method, operation, own, {"Tg-Ack": "soon"}) == 400
    if "Tg-Timeout" in str(operation.get("parameters")):
        assert send(path, method, operation, own, {"Tg-Timeout": "soon"}) == 400
    if operation.get("security"):
        assert send(path, method, operation, own, {}, None) == 401
        assert send(path, method, operation, own, {}, TOKEN + "x") == 401
        may = operation["security"][1]["token"] == ["metrics"]
        assert send(path, method, operation, own, {}, OTHER) == (200 if may else 403)
    assert send(path, method, operation, own, {"Origin": "https://page.example"}) == 403
    for name, value in {"user": "nobody-here", "id": "00000000000000ff", "name": "nothing"}.items():
        if f"{{{name}}}" in path and method == "post":
            assert send(path, method, operation, own | {name: value}, {}) == 404
    if "400" in operation["responses"]:
        for wrong in ({"channel": "tg.user.ann"}, {"user": "\x01"}, {"id": "12"}):
            (name,) = wrong
            if f"{{{name}}}" in path:
                assert send(path, method, operation, own | wrong, {}) == 400
        if path.endswith(("subscribe", "close", "revocations")):
            assert send(path, method, operation, own | {"body": "two words"}, {}) == 400
    # The last request, because it may disconnect the client.
    assert send(path, method, operation, own, {}) == 200
    client.socket.close()
    client.thread.join()


for name, schema in DOCUMENT["components"]["schemas"].items():
    Draft202012Validator.check_schema(schema)
for path, operations in DOCUMENT["paths"].items():
    for method, operation in operations.items():
        run(path, method, operation)
print(f"{asked} requests as documented")
