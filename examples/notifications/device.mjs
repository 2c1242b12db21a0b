// One of a user's devices: shows notifications, and comes back to where it was when its connection is lost.
//
//     node examples/notifications/device.mjs [http://127.0.0.1:8080] [USER] [sse | websocket]

import { Centrifuge } from "centrifuge";
import { EventSource } from "eventsource";
import WebSocket from "ws";
import { ofUser } from "./login.mjs";

const [base = "http://127.0.0.1:8080", user = "ann", transport = "sse"] = process.argv.slice(2);
const path = `${base}/users/${encodeURIComponent(user)}`;

const show = ({ number, text }) => console.log(`${number} ${text}`);
// Away for longer than the gateway keeps what was missed: an app would ask its service now.
const miss = (reason) => console.log(`something is missing: ${reason}`);

/** As a browser's tab does it; tab.html is one. */
function sse() {
  // A page of the gateway's own site has its token in a cookie, and needs none of this.
  const headers = () => ({ Authorization: `Bearer ${ofUser(user)}` });
  const ask = (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers() } });
  const stream = new EventSource(`${path}/events`, { fetch: ask });
  stream.onopen = () => console.log("connected");
  stream.onerror = ({ message }) => stream.readyState === EventSource.CLOSED && console.error(`refused: ${message}`);
  stream.addEventListener("notification", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("tg.gap", (event) => miss(JSON.parse(event.data).reason));
}

/** As a phone does it, with Centrifugo's package. */
function websocket() {
  const url = `${path}/socket`.replace(/^http/, "ws");
  const getToken = async () => ofUser(user);
  const client = new Centrifuge(url, { websocket: WebSocket, maxReconnectDelay: 5_000, getToken });
  client.on("connected", () => console.log("connected"));
  client.on("publication", ({ data }) => show(data));
  client.on("subscribed", ({ wasRecovering, recovered, data }) => {
    if (wasRecovering && !recovered) miss(data?.gap?.reason);
  });
  client.connect();
}

({ sse, websocket })[transport]();
