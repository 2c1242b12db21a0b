// A server that sends back what it gets, on WebSockets too, has the files of its folder, hints, streams events, and closes idle
// connections after its usual 5 s.
//
//   node server.mjs PORT [NAME]
import { createHash, createHmac } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { basename } from "node:path";
import { WebSocketServer } from "ws";

const NAME = process.argv[3] ?? "a server";

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://a").pathname;
  response.setHeader("X-Path", path);
  response.setHeader("X-Server", NAME);
  if (["POST", "PUT", "PATCH"].includes(request.method)) {
    const hash = createHash("sha256");
    let length = 0;
    request.on("data", (piece) => {
      hash.update(piece);
      length += piece.length;
    });
    request.on("end", () => response.end(`${hash.digest("hex")} ${length}`));
  } else if (path === "/events") {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`retry: 50\n\ndata: first\n\nevent: server\nid: 7\ndata: ${NAME} ${request.headers["last-event-id"] ?? "-"}\n\n`);
    request.socket.on("close", () => console.log("an event stream has ended"));
  } else if (path === "/hints") {
    response.writeEarlyHints({ link: "</style.css>; rel=preload" }, () => response.end("hinted"));
  } else if (path === "/headers") {
    response.end(JSON.stringify(request.headers));
  } else if (path === "/cookies") {
    response.setHeader("Set-Cookie", ["a=1; Path=/", "b=2"]);
    response.end("two");
  } else if (path === "/login") {
    // As a library for tokens would sign it.
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = `${part({ alg: "HS256" })}.${part({ sub: "ann", exp: Math.floor(Date.now() / 1000) + 3600 })}`;
    const signature = createHmac("sha256", process.env.TOKEN_SECRET).update(text).digest("base64url");
    response.setHeader("Set-Cookie", `session=${text}.${signature}; HttpOnly; SameSite=Lax; Path=/`);
    response.writeHead(204).end();
  } else if (path === "/nothing") {
    response.writeHead(204).end();
  } else if (existsSync(basename(path) || "-")) {
    createReadStream(basename(path)).pipe(response);
  } else {
    response.writeHead(404).end(`there is no ${path}`);
  }
});
// A message that begins with "close" ends the WebSocket, "who" is answered with the server's name and the client's cookies.
const sockets = new WebSocketServer({ server, perMessageDeflate: true, maxPayload: 32 << 20 });
sockets.on("connection", (socket, request) => {
  socket.on("message", (data, isBinary) => {
    const text = isBinary || data.length > 100 ? "" : data.toString();
    if (text.startsWith("close")) socket.close(4001, text);
    else if (text === "who") socket.send(`${NAME}; ${request.headers.cookie ?? "no cookie"}`);
    else socket.send(data, { binary: isBinary });
  });
  socket.on("close", (code, reason) => console.log(`a WebSocket has ended: ${code} ${reason}`));
});
server.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
