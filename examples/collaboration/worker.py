"""Orders the edits of documents, and keeps them: a file of lines for each document, an edit a line.

    .venv/bin/python examples/collaboration/worker.py [nats://127.0.0.1:4222] [FOLDER]

One of these orders a document. A second one would order it differently: with several, let a database give the versions.
"""

import asyncio
import json
import re
import sys
from pathlib import Path

import nats
from nats.aio.msg import Msg

NAME = re.compile(r"[a-z0-9-]{1,64}")
ID = re.compile(r"[0-9a-f-]{36}")
CELL = re.compile(r"[A-Z][0-9]{1,2}")
VALUE_MAX = 1000


class Refused(Exception):
    """What a client asks for, and will not get by asking again."""


class Document:
    def __init__(self, path: Path) -> None:
        self.cells: dict[str, dict] = {}
        self.by_id: dict[str, dict] = {}
        path.touch()
        for line in path.read_text().splitlines():
            self.apply(json.loads(line))
        self.file = path.open("a")

    @property
    def version(self) -> int:
        return len(self.by_id)

    def apply(self, edit: dict) -> None:
        self.cells[edit["cell"]] = edit
        self.by_id[edit["id"]] = edit

    def take(self, asked: dict, author: str) -> dict:
        """The edit as it is known from now on. One that comes again, because its author did not hear of it, is what it was."""
        if known := self.by_id.get(asked["id"]):
            return known
        if not ID.fullmatch(asked["id"]) or not CELL.fullmatch(asked["cell"]) or len(asked["value"]) > VALUE_MAX:
            raise Refused(f"{asked['cell']} cannot hold that")
        edit = {"version": self.version + 1, "author": author, **{key: asked[key] for key in ("id", "cell", "value")}}
        self.file.write(json.dumps(edit) + "\n")
        self.file.flush()
        self.apply(edit)
        return edit


class Shelf:
    """The documents of a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.documents = {path.stem: Document(path) for path in folder.glob("*.jsonl")}

    def document(self, name: str) -> Document:
        if not NAME.fullmatch(name):
            raise Refused(f"{name!r} is no name of a document")
        if name not in self.documents:
            self.documents[name] = Document(self.folder / f"{name}.jsonl")
        return self.documents[name]


async def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"
    shelf = Shelf(Path(sys.argv[2] if len(sys.argv) > 2 else "documents"))
    bus = await nats.connect(address)

    async def tell(name: str, edit: dict) -> None:
        # Whatever is told twice, the gateway passes on once.
        await bus.publish(f"document.{name}", json.dumps(edit).encode(), headers={"Nats-Msg-Id": edit["id"]})

    async def answer(message: Msg) -> dict:
        asked, author = json.loads(message.data), message.headers.get("Tg-User", "")
        document = shelf.document(asked["document"])
        if message.headers["Tg-Method"] == "open":
            return {"version": document.version, "cells": list(document.cells.values())}
        edit = document.take(asked, author)
        await tell(asked["document"], edit)
        return edit

    async def on_message(message: Msg) -> None:
        # "open" and "close" of connections come too.
        if message.headers["Tg-Kind"] != "rpc":
            return
        try:
            await bus.publish(message.reply, json.dumps(await answer(message)).encode())
        except (Refused, ValueError, KeyError, TypeError) as error:
            headers = {"Nats-Service-Error-Code": "422", "Nats-Service-Error": str(error)}
            await bus.publish(message.reply, b"", headers=headers)

    # What it had written down and not told any more when it died, it tells now.
    for name, document in shelf.documents.items():
        for edit in list(document.by_id.values())[-100:]:
            await tell(name, edit)
    await bus.subscribe("tg.service.documents", queue="workers", cb=on_message)
    # nats-py may write a PING before a SUB that waits to be written; the second PING comes after it.
    await bus.flush()
    await bus.flush()
    print(f"collaboration: working for {address}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
