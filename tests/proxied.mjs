// A page in headless Chromium whose requests, uploads, EventSource and WebSockets all go to servers behind the gateway: two of them,
// of which one browser meets the same one, until that is restarted under it.
//
//   node tests/proxied.mjs TIDEGATE        the binary

import { spawn } from "node:child_process";
import { once } from "node:events";
import { beside } from "./pages.mjs";
import { fail, PATIENCE_MS, until, within } from "./patience.mjs";
import { freePort } from "./ports.mjs";

const servers = Object.fromEntries(await Promise.all(["red", "blue"].map(async (name) => [name, { port: await freePort() }])));

async function start(name) {
  const server = servers[name];
  const program = new URL("gateway/proxied/server.mjs", import.meta.url).pathname;
  server.process = spawn("node", [program, server.port, name], { stdio: ["ignore", "ignore", "inherit"] });
  await until(`${name} listens`, () => fetch(`http://127.0.0.1:${server.port}/nothing`).then(() => true, () => false));
}

async function kill(name) {
  const { process } = servers[name];
  const ended = once(process, "exit");
  process.kill("SIGKILL");
  await within(ended, `${name} ends`);
}

const configuration = (port) => `
[[upstream]]
name = "app"
servers = [${Object.values(servers).map((server) => `"127.0.0.1:${server.port}"`)}]
sticky = { cookie = "tg_app" }
[[route]]
path = "/*"
proxy = "app"
`;

function expect(what, heard, expected) {
  const [a, b] = [heard, expected].map((value) => JSON.stringify(value));
  if (a !== b) fail(`${what}: ${a} instead of ${b}`);
}

// In the page: the server's name and the cookies that it saw, over a WebSocket.
const who = () => new Promise((resolve, reject) => {
  const socket = new WebSocket(`ws://${location.host}/chat`);
  socket.onopen = () => socket.send("who");
  socket.onmessage = ({ data }) => (resolve(data), socket.close());
  socket.onerror = () => reject(new Error("no WebSocket"));
});

const listen = () => {
  [window.servers, window.errors, window.ends] = [[], [], []];
  window.source = new EventSource("/events");
  window.source.addEventListener("server", ({ data }) => window.servers.push(data));
  window.source.onerror = () => window.errors.push(window.source.readyState);
  window.socket = new WebSocket(`ws://${location.host}/chat`);
  window.socket.onclose = ({ code }) => window.ends.push(code);
  return new Promise((resolve) => (window.socket.onopen = resolve));
};

const upload = async () => {
  const body = new Uint8Array(16 << 20).map((_, at) => at % 251);
  const digest = await crypto.subtle.digest("SHA-256", body);
  const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const answer = await fetch("/upload", { method: "POST", body });
  return [answer.status, (await answer.text()) === `${hex} ${body.length}`];
};

async function play({ gateway, browser }) {
  const page = await browser.newPage();
  const see = (words, test) => page.waitForFunction(test, undefined, { timeout: PATIENCE_MS }).then(() => console.log(`  ${words}`));
  await page.goto(`http://${gateway.address("http")}/headers`);
  const name = await page.evaluate(async () => (await fetch("/headers")).headers.get("X-Server"));

  for (let round = 0; round < 5; round += 1) {
    const [server, cookies] = (await page.evaluate(who)).split("; ");
    expect("the server of a WebSocket", server, name);
    if (!/^tg_app=[0-9a-f]{16}$/.test(cookies)) fail(`the cookies of a WebSocket: ${cookies}`);
    expect("the server of a request", await page.evaluate(async () => (await fetch("/a")).headers.get("X-Server")), name);
  }
  console.log(`  requests and WebSockets of one browser meet ${name}`);
  expect("an upload", await page.evaluate(upload), [200, true]);

  await page.evaluate(listen);
  await see("the EventSource is open", () => window.servers.length === 1);
  expect("the server of an EventSource", await page.evaluate(() => window.servers), [`${name} -`]);
  await kill(name);
  await see("the WebSocket is closed", () => window.ends.length === 1);
  await see("the EventSource resumes", () => window.servers.length === 2);
  const other = name === "red" ? "blue" : "red";
  const [, again] = await page.evaluate(() => window.servers);
  expect("the other server, and the last event", again, `${other} 7`);
  if ((await page.evaluate(() => window.errors)).some((state) => state !== 0)) fail("the EventSource has given up");
  expect("a WebSocket after that", (await page.evaluate(who)).split("; ")[0], other);
  await start(name);
  expect("the browser stays", (await page.evaluate(who)).split("; ")[0], other);

  // Both are away for a moment: a WebSocket fails, and the next one does not.
  await kill(name);
  await kill(other);
  await see("the EventSource notices", () => window.errors.length >= 2);
  expect("a request meanwhile", await page.evaluate(async () => (await fetch("/a")).status), 502);
  await start(other);
  await see("the EventSource has found it", () => window.servers.length >= 3);
  if ((await page.evaluate(() => window.errors)).some((state) => state !== 0)) fail("the EventSource has given up");
  await page.close();
  await until("no tunnel is left", async () => (await gateway.count("tidegate_tunnels_open")) === 0);
}

try {
  await Promise.all(["red", "blue"].map(start));
  await beside(configuration, play);
} finally {
  Object.values(servers).forEach(({ process }) => process?.kill("SIGKILL"));
}
