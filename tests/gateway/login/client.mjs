// What pages and servers in JavaScript do with a token. `keys FOLDER` makes the keys of an issuer; `FOLDER URL` shows its tokens to a
// gateway by each client, and says nothing if all goes as it should.
import assert from "node:assert";
import crypto from "node:crypto";
import fs from "node:fs";
import { EventSource } from "eventsource";
import WebSocket from "ws";

const [first, second] = process.argv.slice(2);
const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function token(folder, user, seconds) {
  const key = crypto.createPrivateKey(fs.readFileSync(`${folder}/node.key`));
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + seconds };
  const message = `${encoded({ alg: "ES256", typ: "JWT" })}.${encoded(claims)}`;
  return `${message}.${crypto.sign("sha256", Buffer.from(message), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

/** What becomes of a socket: `open` with its subprotocol, or the status that refused it. */
const opened = (url, protocols, headers) =>
  new Promise((resolve) => {
    const socket = new WebSocket(url, protocols, { headers });
    socket.on("open", () => resolve({ socket, protocol: socket.protocol }));
    socket.on("unexpected-response", (_, response) => resolve({ status: response.statusCode }));
    socket.on("error", () => {});
  });
const message = (socket) => new Promise((resolve) => socket.once("message", (data) => resolve(String(data))));
const closed = (socket) => new Promise((resolve) => socket.once("close", (code) => resolve(code)));

if (first === "keys") {
  const pair = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
  fs.writeFileSync(`${second}/node.key`, pair.privateKey.export({ type: "pkcs8", format: "pem" }));
  fs.writeFileSync(`${second}/node.pem`, pair.publicKey.export({ type: "spki", format: "pem" }));
  process.exit(0);
}

const url = second;
const ann = token(first, "ann", 600);

const byProtocol = await opened(`ws://${url}/node/ws/1`, ["tidegate", `bearer.${ann}`]);
assert.equal(byProtocol.protocol, "tidegate");
byProtocol.socket.send("hello");
assert.equal(await message(byProtocol.socket), "hello");
const encodedToken = `base64url.bearer.authorization.k8s.io.${Buffer.from(ann).toString("base64url")}`;
assert.equal((await opened(`ws://${url}/node/ws/1`, [encodedToken, "chat"])).protocol, "chat");
assert.equal((await opened(`ws://${url}/node/ws/1`, ["tidegate", `bearer.${ann}x`])).status, 401);
assert.equal((await opened(`ws://${url}/node/ws/1`, [])).status, 401);

// Through to a server, which gets the other subprotocol alone.
assert.equal((await opened(`ws://${url}/node/api/socket`, ["tidegate", `bearer.${ann}`])).status, 404);

const events = new EventSource(`http://${url}/node/sse/1`, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Cookie: `session=${ann}` } }),
});
await new Promise((resolve) => (events.onopen = resolve));
const heard = new Promise((resolve) => (events.onmessage = (event) => resolve(event.data)));
byProtocol.socket.send("to all");
assert.equal(await heard, "to all");
events.close();
const refused = new EventSource(`http://${url}/node/sse/1`);
const error = await new Promise((resolve) => (refused.onerror = resolve));
assert.deepEqual([error.code, refused.readyState], [401, EventSource.CLOSED]);

const api = await fetch(`http://${url}/node/api/a?b=c`, { headers: { Authorization: `Bearer ${ann}`, "X-User": "root" } });
const head = await api.text();
assert.match(head, /\r\nX-User: ann\r\n/);
assert.doesNotMatch(head, /root/);
const denied = await fetch(`http://${url}/node/api/a`);
assert.deepEqual([denied.status, denied.headers.get("www-authenticate")], [401, "Bearer"]);

const short = await opened(`ws://${url}/node/control/1`, ["tidegate", `bearer.${token(first, "ann", 2)}`]);
const long = await opened(`ws://${url}/node/control/2`, ["tidegate", `bearer.${token(first, "bob", 2)}`]);
long.socket.send(JSON.stringify({ tg: "token", token: token(first, "bob", 600) }));
assert.match(await message(long.socket), /^{"tg":"token","ttl":(599|600)}$/);
assert.equal(await closed(short.socket), 3000);
long.socket.send("still here");
assert.equal(await message(long.socket), "still here");
process.exit(0);
