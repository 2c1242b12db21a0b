// An upload of a page in headless Chromium, through the gateway, to a server that reads it step by step: the page does not run ahead of the
// server by more than what the sockets on the way hold, and the gateway keeps nothing of it.
//
//   node tests/uploads.mjs TIDEGATE        the binary

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { launch } from "./browser.mjs";
import { Gateway } from "./gateway.mjs";
import { fail, until, within } from "./patience.mjs";

const MB = 1 << 20;
const UPLOAD_BYTES = 128 * MB;
// After so much the server stops reading step by step.
const STEPS_BYTES = 24 * MB;
// The most that two connections of loopback hold (tcp_rmem and tcp_wmem: 6 and 4 MB each), and what the browser has in hand.
const AHEAD_BYTES_MAX = 24 * MB;
const GATEWAY_GROWS_BYTES_MAX = 8 * MB;

// The server takes bytes of its one connection only when the test wants some.
const server = createServer();
await once(server.listen(0, "127.0.0.1"), "listening");

const configuration = `
shards = 1
pin = false
[[listener]]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[[route]]
path = "/page"
respond = { body = "<!doctype html><title>a page</title>", headers = "Content-Type: text/html" }
[[route]]
path = "/upload"
proxy = { upstream = "http://127.0.0.1:${server.address().port}" }
`;

const gateway = new Gateway(process.argv[2], configuration, ["http", "admin"]);
const browser = await launch();

const memory = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.process.pid}/status`, "utf8"))[1]) * 1024;

// In the page: XMLHttpRequest alone tells how far an upload over HTTP/1.1 has come.
const upload = (bytes) => {
  Object.assign(window, { sent: 0, answered: 0, failure: "" });
  const request = new XMLHttpRequest();
  request.upload.onprogress = ({ loaded }) => (window.sent = loaded);
  request.onload = () => (window.answered = request.status);
  request.onerror = () => (window.failure = "the upload has failed");
  request.open("POST", "/upload");
  request.send(new Blob([new Uint8Array(bytes)]));
};

async function play() {
  const page = await browser.newPage();
  await page.goto(`http://${gateway.address("http")}/page`);
  const before = memory();
  const connected = once(server, "connection");
  await page.evaluate(upload, UPLOAD_BYTES);
  const [socket] = await within(connected, "the server has the upload");
  // Bytes are read when the next ones are wanted, and not before.
  const pieces = socket[Symbol.asyncIterator]();
  const next = async () => (await within(pieces.next(), "more of the upload comes")).value ?? fail("the gateway has closed");
  let head = Buffer.alloc(0);
  while (!head.includes("\r\n\r\n")) head = Buffer.concat([head, await next()]);
  let [taken, aheadMost, memoryMost] = [head.length - head.indexOf("\r\n\r\n") - 4, 0, before];
  while (taken < STEPS_BYTES) {
    taken += (await next()).length;
    const { sent, failure } = await page.evaluate(() => ({ sent: window.sent, failure: window.failure }));
    if (failure) fail(failure);
    [aheadMost, memoryMost] = [Math.max(aheadMost, sent - taken), Math.max(memoryMost, memory())];
    if (aheadMost > AHEAD_BYTES_MAX) fail(`the page has sent ${sent} bytes, and the server has read ${taken}`);
    if (memoryMost - before > GATEWAY_GROWS_BYTES_MAX) fail(`the gateway has grown from ${before} to ${memoryMost} bytes`);
  }
  if ((await page.evaluate(() => window.sent)) === 0) fail("the page hears nothing of its progress");
  const mb = (bytes) => (bytes / MB).toFixed(1);
  console.log(`  at most ${mb(aheadMost)} MB ahead of the server, ${mb(memoryMost - before)} MB more in the gateway`);
  while (taken < UPLOAD_BYTES) taken += (await next()).length;
  socket.end("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
  await until("the upload is answered", () => page.evaluate(() => window.answered === 204));
  await page.close();
}

try {
  await gateway.start();
  await play();
} finally {
  await browser.close();
  server.close();
  await gateway.stop();
}
