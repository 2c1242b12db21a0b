// EventSources that find no place: one in headless Chromium and one of npm's eventsource come back when there is one, again and
// again, and none of them gives up.
//
//   node tests/places.mjs TIDEGATE         the binary

import { once } from "node:events";
import { EventSource } from "eventsource";
import { WebSocket } from "ws";
import { beside } from "./pages.mjs";
import { until } from "./patience.mjs";

const CONFIGURATION = `
[limits]
connections_max = 3
[[route]]
path = "/events"
origins = "*"
sse = { channel = "news" }
[[route]]
path = "/ws"
websocket = { channel = "news" }
`;

await beside(() => CONFIGURATION, async ({ gateway, visit }) => {
  const url = `http://${gateway.address("http")}`;
  const page = await visit();

  // There is no place from the start.
  const others = [1, 2, 3].map(() => new WebSocket(`${url.replace("http", "ws")}/ws`));
  await Promise.all(others.map((socket) => once(socket, "open")));

  const heard = [];
  const states = new Set();
  const source = new EventSource(`${url}/events`);
  source.onmessage = (event) => heard.push(event.data);
  source.onerror = () => states.add(source.readyState);
  await page.evaluate((url) => {
    window.heard = [];
    window.states = [];
    window.source = new EventSource(`${url}/events`);
    window.source.onmessage = (event) => window.heard.push(event.data);
    window.source.onerror = () => window.states.push(window.source.readyState);
  }, url);

  const turnedAway = () => gateway.count("tidegate_closed_total", "too_many_connections");
  await until("both are turned away, and come again", async () => (await turnedAway()) >= 4);
  others.forEach((socket) => socket.close());
  await until("both are there when there is a place", async () => (await gateway.count("tidegate_clients_open")) === 2);
  await until("and hear what is published", async () => {
    await gateway.publish("news", "high tide");
    return heard.length > 0 && (await page.evaluate(() => window.heard.length)) > 0;
  });
  const seen = [...states, ...(await page.evaluate(() => window.states))];
  if (seen.some((state) => state !== 0)) throw new Error(`one has given up for ever: ${seen}`);
  source.close();
});
