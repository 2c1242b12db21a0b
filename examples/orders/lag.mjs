// How long it takes from the commit in the shop's database until each of its followers knows: p50 and p99.
//
//     node examples/orders/lag.mjs [GATEWAY] [--orders 200] [--followers 20] [--json]
//
// On one machine: the clocks of shop and followers are the same.

import { parseArgs } from "node:util";
import { EventSource } from "eventsource";
import { advance, place } from "./customer.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    orders: { type: "string", default: "200" },
    followers: { type: "string", default: "20" },
    json: { type: "boolean", default: false },
  },
});
const [gateway = "http://127.0.0.1:8080"] = positionals;
const [orders, followers] = [Number(values.orders), Number(values.followers)];
const STEPS = 4;
// What has not come then does not come.
const PATIENCE_MS = 60_000;
// A branch of its own, so that nothing else is heard.
const branch = `lag-${process.pid}-${Date.now()}`;

class Follower {
  lags = [];

  constructor() {
    this.stream = new EventSource(`${gateway}/shops/${branch}/events`);
    this.isOpen = new Promise((resolve) => this.stream.addEventListener("open", resolve));
    this.hasAll = new Promise((resolve) => {
      this.stream.addEventListener("order", ({ data }) => {
        this.lags.push(performance.timeOrigin + performance.now() - JSON.parse(data).committed_ms);
        if (this.lags.length === orders * STEPS) resolve();
      });
    });
  }
}

async function within(promise, words) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`in vain: ${words}`)), PATIENCE_MS)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const percentile = (numbers, share) => [...numbers].sort((a, b) => a - b)[Math.floor((numbers.length - 1) * share)];
const row = (who, lags) => ({ who, events: lags.length, p50_ms: percentile(lags, 0.5), p99_ms: percentile(lags, 0.99) });

const all = Array.from({ length: followers }, () => new Follower());
try {
  await within(Promise.all(all.map(({ isOpen }) => isOpen)), "all streams are open");
  for (let number = 0; number < orders; number += 1) {
    const { order } = await place(gateway, { shop: branch, item: "tea" });
    for (let step = 1; step < STEPS; step += 1) await advance(gateway, order);
  }
  await within(Promise.all(all.map(({ hasAll }) => hasAll)), "everybody has heard everything");
  const slowest = all.map(({ lags }) => row("the slowest of them", lags)).sort((a, b) => b.p99_ms - a.p99_ms)[0];
  const rows = [row(`${followers} followers`, all.flatMap(({ lags }) => lags)), slowest];
  if (values.json) {
    console.log(JSON.stringify(rows));
  } else {
    console.log("| from the commit to | events | p50 ms | p99 ms |\n|---|--:|--:|--:|");
    for (const { who, events, p50_ms, p99_ms } of rows) {
      console.log(`| ${who} | ${events} | ${p50_ms.toFixed(2)} | ${p99_ms.toFixed(2)} |`);
    }
  }
} finally {
  all.forEach(({ stream }) => stream.close());
}
