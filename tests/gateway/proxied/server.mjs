// A server that sends back what it gets, has the files of its folder, hints, streams events, and closes idle connections
// after its usual 5 s.
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { basename } from "node:path";

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://a").pathname;
  response.setHeader("X-Path", path);
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
    response.write("data: first\n\n");
    request.socket.on("close", () => console.log("an event stream has ended"));
  } else if (path === "/hints") {
    response.writeEarlyHints({ link: "</style.css>; rel=preload" }, () => response.end("hinted"));
  } else if (path === "/headers") {
    response.end(JSON.stringify(request.headers));
  } else if (path === "/cookies") {
    response.setHeader("Set-Cookie", ["a=1; Path=/", "b=2"]);
    response.end("two");
  } else if (path === "/nothing") {
    response.writeHead(204).end();
  } else if (existsSync(basename(path) || "-")) {
    createReadStream(basename(path)).pipe(response);
  } else {
    response.writeHead(404).end(`there is no ${path}`);
  }
});
server.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
