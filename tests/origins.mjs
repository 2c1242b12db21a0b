// Pages in headless Chromium that the gateway does not serve: one of its own origin, one that the routes list, one that they
// do not. What they may do, what they can read of a refusal, and of the answers of a server behind the gateway.
//
//   node tests/origins.mjs TIDEGATE        the binary

import { createServer } from "node:http";
import { once } from "node:events";
import { beside } from "./pages.mjs";
import { fail, PATIENCE_MS } from "./patience.mjs";

// A server behind the gateway that says nothing about origins. It tells each request what it has got.
const asked = [];
const server = createServer(({ method, url, headers }, answer) => {
  asked.push(`${method} ${url}`);
  if (url === "/login") answer.setHeader("Set-Cookie", "session=ann");
  answer.end(`${method} ${headers.cookie ?? "no cookie"}`);
});
await once(server.listen(0, "127.0.0.1"), "listening");

// The page that is listed comes from 127.0.0.1, the one that is not from localhost.
const configuration = (port) => `
[[route]]
path = "/notifications/{user}"
origins = "http://127.0.0.1:${port}"
request_headers = "X-Tenant"
sse = { channel = "notifications.{user}" }
[[route]]
path = "/café/connect"
origins = "http://127.0.0.1:${port}"
websocket = { protocol = "centrifuge-json", channels = "news" }
[[route]]
path = "/{tenant}/bookings"
origins = "http://127.0.0.1:${port}"
accept = { service = "bookings" }
`;

const proxies = (port) => `
[[upstream]]
name = "app"
servers = "127.0.0.1:${server.address().port}"
[[route]]
path = "/listed/*"
origins = "http://127.0.0.1:${port}"
request_headers = "X-Tenant"
proxy = { upstream = "app", strip = "/listed" }
[[route]]
path = "/any/*"
origins = "*"
proxy = { upstream = "app", strip = "/any" }
[[route]]
path = "/servers/*"
proxy = { upstream = "app", strip = "/servers" }
`;

// The status and the text of an answer, or the name of the error that a page gets instead.
const ask = async ([url, init]) => {
  try {
    const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(30_000) });
    const isStream = answer.headers.get("Content-Type")?.startsWith("text/event-stream");
    return [answer.status, isStream ? "a stream" : await answer.text(), answer.headers.get("Location")];
  } catch (error) {
    return [error.name];
  }
};

const open = (url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onopen = () => resolve("open");
  socket.onerror = () => resolve("error");
});

// Begins a stream in the page; what it hears gathers in window.heard.
const listen = (url) => {
  window.heard = [];
  const stream = new EventSource(url);
  stream.onmessage = ({ data }) => window.heard.push(data);
  return new Promise((resolve) => Object.assign(stream, { onopen: () => resolve("open"), onerror: () => resolve("error") }));
};

function expect(what, heard, expected) {
  const [a, b] = [heard, expected].map((value) => JSON.stringify(value));
  if (a !== b) fail(`${what}: ${a} instead of ${b}`);
}

// Answers of the server, which pages may read as the routes say.
async function proxied({ gateway, visit }) {
  const url = (path) => `http://${gateway.address("http")}${path}`;
  const page = await visit();
  const get = async (path, init = {}) => (await page.evaluate(ask, [url(path), init])).slice(0, 2);
  const included = { credentials: "include" };
  expect("an answer", await get("/listed/a"), [200, "GET no cookie"]);
  expect("a login", await get("/listed/login", included), [200, "GET no cookie"]);
  expect("with credentials", await get("/listed/a", included), [200, "GET session=ann"]);
  expect("without credentials", await get("/listed/a", { credentials: "omit" }), [200, "GET no cookie"]);
  const tenant = { method: "PUT", headers: { "X-Tenant": "t" }, body: "b", ...included };
  expect("after a preflight", await get("/listed/a", tenant), [200, "PUT session=ann"]);
  expect("a field that the route does not list", await get("/listed/a", { headers: { "X-Other": "x" } }), ["TypeError"]);
  expect("any origin, without credentials", await get("/any/a"), [200, "GET no cookie"]);
  expect("any origin, with credentials", await get("/any/a", included), ["TypeError"]);
  expect("a route without origins: the server has allowed nobody", await get("/servers/a"), ["TypeError"]);

  const other = await visit("localhost");
  asked.length = 0;
  const before = await gateway.count('reason="origin_refused"');
  for (const init of [{}, included, { method: "DELETE" }, tenant]) {
    expect("a page that is not listed", await other.evaluate(ask, [url("/listed/a"), init]), ["TypeError"]);
  }
  expect("each of its requests is refused", (await gateway.count('reason="origin_refused"')) - before, 4);
  expect("any page", (await other.evaluate(ask, [url("/any/a"), {}])).slice(0, 2), [200, "GET no cookie"]);
  expect("requests of those pages that came to the server", asked, ["GET /a"]);
}

await beside(configuration, async ({ gateway, browser, visit }) => {
  const [http, ws] = ["http", "ws"].map((scheme) => `${scheme}://${gateway.address("http")}`);
  const stream = `${http}/notifications/ann@example.org`;
  const polyfill = { headers: { "Cache-Control": "no-cache", "Last-Event-ID": "0", "X-Requested-With": "x", "X-Tenant": "t" } };

  const page = await visit();
  expect("an EventSource of a user with an address", await page.evaluate(listen, stream), "open");
  await gateway.publish("notifications.ann@example%252Eorg", "hello");
  await page.waitForFunction(() => window.heard.includes("hello"), undefined, { timeout: PATIENCE_MS });
  expect("what polyfills send", (await page.evaluate(ask, [stream, polyfill]))[0], 200);
  expect("another field", await page.evaluate(ask, [stream, { headers: { "X-Other": "x" } }]), ["TypeError"]);
  expect("a path of no route", (await page.evaluate(ask, [`${http}/nowhere`]))[0], 404);
  expect("a method of no route", (await page.evaluate(ask, [stream, { method: "POST" }]))[0], 405);
  expect("a target that is too long", (await page.evaluate(ask, [`${http}/${"x".repeat(9_000)}`]))[0], 414);
  const [status, , location] = await page.evaluate(ask, [`${http}/acme/bookings`, { method: "POST", credentials: "include" }]);
  expect("a request", [status, location?.startsWith("/acme/bookings/")], [202, true]);
  expect("a path that is not ASCII", await page.evaluate(open, `${ws}/café/connect`), "open");

  const other = await visit("localhost");
  for (const [url, init] of [[stream], [stream, polyfill], [`${http}/nowhere`], [`${http}/acme/bookings`, { method: "POST" }]]) {
    expect(`a page that is not listed, at ${url}`, await other.evaluate(ask, [url, init]), ["TypeError"]);
  }
  expect("its EventSource", await other.evaluate(listen, stream), "error");
  expect("its WebSocket", await other.evaluate(open, `${ws}/café/connect`), "error");
  expect("refusals that were counted", (await gateway.count('reason="origin_refused"')) >= 4, true);

  // The gateway serves no page here: one is put into its place.
  const own = await browser.newPage();
  await own.route(`${http}/`, (route) => route.fulfill({ contentType: "text/html", body: "<title>its own</title>" }));
  await own.goto(`${http}/`);
  expect("its own EventSource", await own.evaluate(listen, stream), "open");
  expect("its own WebSocket", await own.evaluate(open, `${ws}/caf%C3%A9/connect`), "open");
  expect("its own request", (await own.evaluate(ask, ["/acme/bookings", { method: "POST" }]))[0], 202);
});
await beside(proxies, proxied).finally(() => {
  server.closeAllConnections();
  server.close();
});
