// A customer who orders, and follows what becomes of it.
//
//     node examples/orders/customer.mjs [http://127.0.0.1:8080]
//
// In a page, EventSource is there as it is.

import { EventSource } from "eventsource";

async function ask(method, url, body) {
  const answer = await fetch(url, { method, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** The critical path: an ordinary request, which the gateway passes on to the shop, and which is done when it is answered. */
export const place = (base, order) => ask("POST", `${base}/orders`, order);
export const advance = (base, order) => ask("POST", `${base}/orders/${order}/next`);
export const read = (base, order) => ask("GET", `${base}/orders/${order}`);

/** All that happens to an order, from the first step, each once and in order, whatever happens to the connection. */
export function follow(base, order, onEvent) {
  let last = 0;
  let turn = Promise.resolve();
  const hear = (event) => {
    if (event.number <= last) return;
    last = event.number;
    onEvent(event);
  };
  const stream = new EventSource(`${base}/orders/${order}/events`);
  stream.onerror = ({ message }) => stream.readyState === EventSource.CLOSED && console.error(`refused: ${message}`);
  stream.addEventListener("order", ({ data }) => {
    turn = turn.then(() => hear(JSON.parse(data)));
  });
  // More was missed than the gateway keeps, or it was started anew: the shop knows all. What follows waits for that.
  stream.addEventListener("tg.gap", () => {
    turn = turn.then(async () => (await read(base, order)).events.forEach(hear)).catch(console.error);
  });
  return stream;
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const [base = "http://127.0.0.1:8080"] = process.argv.slice(2);
  const { order } = await place(base, { shop: "north", item: "tea" });
  console.log(`ordered: curl -X POST ${base}/orders/${order}/next takes it further`);
  const stream = follow(base, order, ({ step }) => {
    console.log(`order ${order}: ${step}`);
    if (step === "shipped") stream.close();
  });
}
