// An EventSource in headless Chromium whose connection is cut, again and again: it misses nothing and hears nothing twice,
// or hears of the gap.
//
//   node tests/resume.mjs TIDEGATE         the binary

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { createServer as createPages } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
// Facts are awaited, never slept for; this is when they count as not coming.
const PATIENCE_MS = 30_000;
const KEPT = 5;
const CONFIGURATION = `
shards = 2
pin = false
[[listener]]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[[route]]
path = "/one/{name}"
origins = "*"
sse = { channel = "one.{name}", retry_ms = 50 }
[[route]]
path = "/two/{a}/{b}"
origins = "*"
sse = { channels = ["one.{a}", "one.{b}"], retry_ms = 50 }
[[channel]]
name = "one.*"
history = { messages = ${KEPT} }
`;

function fail(words) {
  throw new Error(words);
}

async function within(promise, words) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`in vain: ${words}`)), PATIENCE_MS)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The gateway on free ports, in a folder of its own.
class Gateway {
  async start(binary) {
    this.folder = mkdtempSync(join(tmpdir(), "tidegate-"));
    const file = join(this.folder, "tidegate.toml");
    writeFileSync(file, CONFIGURATION);
    this.process = spawn(binary, ["serve", "--config", file], { stdio: ["ignore", "pipe", "inherit"] });
    this.ended = once(this.process, "exit");
    let said = "";
    const port = (name) => Number(said.match(new RegExp(`listening ${name} 127\\.0\\.0\\.1:(\\d+)`))?.[1]);
    await within(new Promise((resolve, reject) => {
      this.process.stdout.on("data", (bytes) => {
        said += bytes;
        if (port("http") && port("admin")) resolve();
      });
      this.ended.then(() => reject(new Error(`the gateway ended: ${said}`)));
    }), "the gateway listens");
    this.port = port("http");
    this.admin = port("admin");
  }

  async publish(channel, ...payloads) {
    for (const payload of payloads) {
      const url = `http://127.0.0.1:${this.admin}/api/channels/one.${channel}`;
      const answer = await fetch(url, { method: "POST", body: String(payload) });
      if (answer.status !== 200) fail(`published: ${answer.status}`);
    }
  }

  async stop() {
    this.process.kill("SIGTERM");
    await within(this.ended, "the gateway ends");
    rmSync(this.folder, { recursive: true });
  }
}

// A cable between the browser and the gateway, which can be pulled.
class Cable {
  constructor(port) {
    this.sockets = new Set();
    this.server = createServer((near) => {
      if (this.isPulled) return near.destroy();
      const far = connect(port, "127.0.0.1");
      for (const [socket, other] of [[near, far], [far, near]]) {
        this.sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.sockets.delete(socket);
          other.destroy();
        });
      }
      near.pipe(far);
      far.pipe(near);
    });
  }

  async plugIn() {
    this.isPulled = false;
    if (!this.server.listening) await once(this.server.listen(0, "127.0.0.1"), "listening");
    return this.server.address().port;
  }

  pull() {
    this.isPulled = true;
    this.sockets.forEach((socket) => socket.destroy());
  }
}

// Begins a stream in the page; what it hears gathers in window.heard.
const listen = (url) => {
  window.heard = [];
  window.opened = 0;
  window.stream?.close();
  window.stream = new EventSource(url);
  window.stream.onopen = () => (window.opened += 1);
  window.stream.onmessage = (event) => window.heard.push(event.data);
  window.stream.addEventListener("tg.gap", (event) => window.heard.push(`gap ${JSON.parse(event.data).reason}`));
};

async function see(page, words, test, argument) {
  try {
    await page.waitForFunction(test, argument, { timeout: PATIENCE_MS });
  } catch (error) {
    const heard = await page.evaluate(() => JSON.stringify([window.heard, window.stream?.readyState])).catch(() => "");
    fail(`in vain: ${words} (${error.message.split("\n")[0]})\n${heard}`);
  }
  console.log(`  ${words}`);
}

const hasHeard = (expected) => window.heard.length >= expected.length;
const hasOpened = (count) => window.opened >= count;

async function hears(page, words, expected) {
  await see(page, words, hasHeard, expected);
  const heard = await page.evaluate(() => window.heard);
  if (heard.join() !== expected.join()) fail(`${words}: heard ${heard}, not ${expected}`);
}

async function play(page, gateway, cable, url) {
  await page.evaluate(listen, `${url}/one/a`);
  await see(page, "the stream opens", hasOpened, 1);
  cable.pull();
  await gateway.publish("a", 1, 2);
  await cable.plugIn();
  await hears(page, "what was said before its first event is not missed", ["1", "2"]);
  for (const round of [1, 2, 3]) {
    await gateway.publish("a", `live ${round}`);
    await see(page, `it hears what is live, ${round}`, (last) => window.heard.at(-1) === last, `live ${round}`);
    cable.pull();
    await gateway.publish("a", `missed ${round}`);
    await cable.plugIn();
    await see(page, `and what it missed, ${round}`, (last) => window.heard.at(-1) === last, `missed ${round}`);
  }
  const rounds = [1, 2, 3].flatMap((round) => [`live ${round}`, `missed ${round}`]);
  await hears(page, "in order, and each once", ["1", "2", ...rounds]);

  cable.pull();
  await gateway.publish("a", 1, 2, 3, 4, 5, 6, 7);
  await cable.plugIn();
  const kept = ["3", "4", "5", "6", "7"];
  await hears(page, "too long away: a gap, and what is kept", ["1", "2", ...rounds, "gap gone", ...kept]);

  await page.evaluate(listen, `${url}/one/a?last_event_id=nonsense`);
  await hears(page, "an id that is none: a gap, and what is kept", ["gap malformed", ...kept]);
  cable.pull();
  await gateway.publish("a", 8);
  await cable.plugIn();
  await hears(page, "the id of the header wins when it comes back", ["gap malformed", ...kept, "8"]);

  await page.evaluate(listen, `${url}/two/b/c`);
  await see(page, "a stream of two channels opens", hasOpened, 1);
  await gateway.publish("b", "b1");
  await hears(page, "it hears one of them", ["b1"]);
  cable.pull();
  await gateway.publish("c", "c1");
  await cable.plugIn();
  await hears(page, "and comes back to both", ["b1", "c1"]);
}

const gateway = new Gateway();
await gateway.start(process.argv[2]);
const cable = new Cable(gateway.port);
const pages = createPages((_, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html>"));
await once(pages.listen(0, "127.0.0.1"), "listening");
const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  await play(page, gateway, cable, `http://127.0.0.1:${await cable.plugIn()}`);
} finally {
  await browser.close();
  cable.pull();
  cable.server.close();
  pages.closeAllConnections();
  pages.close();
  await gateway.stop();
}
