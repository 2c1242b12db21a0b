// What node, whose parser is llhttp, reads in bytes that a server has got. Input: a JSON list of texts in hex. Output: for each of them a
// list of [method, target, SHA-256 of the body], in which an error is a text.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";

const found = new Map();
const server = createServer((request, response) => {
  const requests = found.get(request.socket.remotePort);
  const entry = [request.method, request.url, undefined];
  requests.push(entry);
  const hash = createHash("sha256");
  request.on("data", (piece) => hash.update(piece));
  request.on("end", () => {
    entry[2] = hash.digest("hex");
    response.writeHead(204).end();
  });
});
server.on("connection", (socket) => found.set(socket.remotePort, []));
server.on("clientError", (error, socket) => {
  // The end of the bytes, behind a whole request.
  if (error.code !== "ECONNRESET") found.get(socket.remotePort).push(error.code);
  socket.destroy();
});
server.listen(0, "127.0.0.1");
await once(server, "listening");

const all = [];
for (const bytes of JSON.parse(await text(process.stdin))) {
  const socket = connect(server.address().port, "127.0.0.1");
  await once(socket, "connect");
  const port = socket.localPort;
  socket.on("error", () => {});
  socket.resume().end(Buffer.from(bytes, "hex"));
  await once(socket, "close");
  all.push(found.get(port));
}
console.log(JSON.stringify(all));
server.close();
