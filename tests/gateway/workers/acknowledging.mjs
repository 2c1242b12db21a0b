// A user whose connection is cut between a message and its acknowledgement: through `ws`, or through `centrifuge`, Centrifugo's
// package. Prints `open`, and then, once the message has come twice and is acknowledged, `done`. Exits with 1 at a failure.
//
// usage: node acknowledging.mjs HOST:PORT (the gateway) ws|centrifuge

import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { Centrifuge } from "centrifuge";
import WebSocket from "ws";

const [gateway, transport] = process.argv.slice(2);
// Facts are awaited; this is when they count as not coming.
const patience = setTimeout(() => {
  console.error("in vain");
  process.exit(1);
}, 15_000);

/** Between the user and the gateway. */
const pairs = new Set();
const relay = createServer((down) => {
  const [host, port] = gateway.split(":");
  const pair = [down, connect({ host, port: Number(port) })];
  pairs.add(pair);
  for (const socket of pair) {
    socket.on("error", () => {});
    socket.on("close", () => pair.forEach((other) => other.destroy()));
  }
  pair[0].pipe(pair[1]).pipe(pair[0]);
});
relay.listen(0, "127.0.0.1");
await once(relay, "listening");
const address = `127.0.0.1:${relay.address().port}`;

function cut() {
  for (const pair of pairs) pair.forEach((socket) => socket.destroy());
  pairs.clear();
}

const say = (word) => console.log(word);
const isMessage = (said) => assert.deepEqual([said.tg, said.data], ["message", { ride: 7 }]);

async function overWs() {
  const open = async () => {
    const socket = new WebSocket(`ws://${address}/control?user=ann`);
    const said = once(socket, "message").then(([text]) => JSON.parse(text));
    await once(socket, "open");
    return [socket, said];
  };
  const [first, heard] = await open();
  first.on("error", () => {});
  say("open");
  const message = await heard;
  isMessage(message);
  cut();
  await once(first, "close");
  const [second, again] = await open();
  assert.deepEqual(await again, message);
  second.send(JSON.stringify({ tg: "ack", id: message.id }));
  say("done");
  await once(process.stdin.resume(), "end");
  second.terminate();
}

async function overCentrifuge() {
  const centrifuge = new Centrifuge(`ws://${address}/desk?user=ann`, {
    websocket: WebSocket,
    minReconnectDelay: 10,
    maxReconnectDelay: 100,
  });
  const heard = [];
  let come;
  const twice = new Promise((resolve) => (come = resolve));
  centrifuge.on("message", ({ data }) => {
    heard.push(data);
    if (heard.length === 1) cut();
    else come();
  });
  centrifuge.once("connected", () => say("open"));
  centrifuge.connect();
  await twice;
  const [message, again] = heard;
  isMessage(message);
  assert.deepEqual(again, message);
  const ack = (id) => centrifuge.rpc("tg.ack", { id });
  assert.deepEqual((await ack(message.id)).data, {});
  assert.deepEqual((await ack(message.id)).data, {});
  await assert.rejects(ack("nonsense"), (error) => error.code === 108);
  say("done");
  await once(process.stdin.resume(), "end");
  assert.equal(heard.length, 2);
  centrifuge.disconnect();
}

await (transport === "ws" ? overWs() : overCentrifuge());
cut();
relay.close();
clearTimeout(patience);
