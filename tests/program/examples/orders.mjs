// A shop whose orders are followed, through cuts and the shop's own death.
//
//   node tests/program/examples/orders.mjs order|gap|lag|crash TIDEGATE (the binary) PYTHON

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { EventSource } from "eventsource";
import { advance, follow, place } from "../../../examples/orders/customer.mjs";
import { Cable } from "../../cable.mjs";
import { freePort } from "../../ports.mjs";
import { until, within } from "../../patience.mjs";
import { exampleGateway, Program } from "./program.mjs";

const [part, binary, python] = process.argv.slice(2);
const STEPS = ["placed", "paid", "packed", "shipped"];
// Of an order everything is kept, unless it is about what is not kept.
const kept = part === "gap" ? { TIDEGATE_CHANNEL_0_HISTORY_MESSAGES: "1" } : {};
const shopPort = await freePort();
const environment = { ...kept, TIDEGATE_ROUTE_2_PROXY_UPSTREAM: `http://127.0.0.1:${shopPort}` };
const gateway = exampleGateway(binary, "orders", environment);
await gateway.start();
const url = `http://${gateway.address("http")}`;
const cable = new Cable(gateway.address("http"));
const folder = mkdtempSync(join(tmpdir(), "tidegate-"));
const database = join(folder, "orders.sqlite");
const program = new Program(python, "examples/orders/shop.py", `nats://${gateway.address("bus")}`, `${shopPort}`, database);
const streams = [];

/** Its own URL; customers know that of the gateway alone. */
const open = async () => (await program.start()).match(/http:\S+/)[0];

/** The steps of an order, as a customer hears them from now on. */
function steps(order, through = url) {
  const heard = [];
  streams.push(follow(through, order, ({ step }) => heard.push(step)));
  return heard;
}

/** The events of a shop from now on. */
async function watch(name) {
  const heard = [];
  const stream = new EventSource(`${url}/shops/${name}/events`);
  streams.push(stream);
  stream.addEventListener("order", ({ data }) => heard.push(JSON.parse(data)));
  await within(new Promise((resolve) => stream.addEventListener("open", resolve)), "the stream opens");
  return heard;
}

const order = async () => (await place(url, { shop: "north", item: "tea" })).order;
const ship = async (number) => {
  for (const _ of STEPS.slice(1)) await advance(url, number);
};

const parts = {
  async order() {
    await open();
    const heard = await watch("north");
    const orders = await Promise.all(Array.from({ length: 10 }, () => order()));
    await Promise.all(orders.map((number) => ship(number)));
    await until("the shop's stream has all events", () => heard.length >= 40);
    for (const number of orders) {
      assert.deepEqual(heard.filter((event) => event.order === number).map(({ step }) => step), STEPS);
    }
    await assert.rejects(advance(url, orders[0]), /409/);
    await assert.rejects(advance(url, 1000), /404/);

    const through = `http://127.0.0.1:${await cable.plugIn()}`;
    const number = await order();
    const cut = steps(number, through);
    await until("a customer follows an order", () => cut.length === 1);
    cable.pull();
    await advance(url, number);
    await advance(url, number);
    await cable.plugIn();
    await until("misses nothing in a tunnel", () => cut.length === 3);
    await advance(url, number);
    await until("and hears what follows", () => cut.length === 4);
    assert.deepEqual(cut, STEPS);

    await program.kill();
    await assert.rejects(order(), /502/);
    await open();
    const last = await order();
    await until("a shop that was killed goes on", () => heard.at(-1).order === last);
    const numbers = heard.map((event) => event.number);
    assert.deepEqual(numbers, [...Array(45).keys()].map((index) => index + 1), "in order, and each once");
    assert.ok(await gateway.count("tidegate_messages_lost_total", 'reason="duplicate"') >= 44, "what was told was told again");
    const late = orders.map((number) => steps(number));
    await until("who comes late hears all", () => late.every((steps) => steps.length === STEPS.length));
    late.forEach((steps) => assert.deepEqual(steps, STEPS));
  },

  async gap() {
    await open();
    const number = await order();
    const heard = steps(number, `http://127.0.0.1:${await cable.plugIn()}`);
    await until("a customer follows an order", () => heard.length === 1);
    cable.pull();
    await ship(number);
    await cable.plugIn();
    await until("what is not kept any more, the shop tells", () => heard.length === 4);
    assert.deepEqual(heard, STEPS);
  },

  async crash() {
    const shop = await open();
    const number = await order();
    const heard = steps(number);
    await until("a customer follows an order", () => heard.length === 1);
    await gateway.kill();
    await advance(shop, number);
    await gateway.start();
    await until("the gateway is another, and the step without it is heard", () => heard.length === 2);
    await advance(shop, number);
    await advance(shop, number);
    await until("and what follows", () => heard.length === 4);
    assert.deepEqual(heard, STEPS);
    const late = steps(number);
    await until("who comes late hears all of it", () => late.length === 4);
    assert.deepEqual(late, STEPS);
  },

  async lag() {
    await open();
    const options = ["--orders", "10", "--followers", "3", "--json"];
    const { stdout } = await promisify(execFile)("node", ["examples/orders/lag.mjs", url, ...options]);
    const [all, slowest] = JSON.parse(stdout);
    assert.deepEqual([all.events, slowest.events], [3 * 10 * 4, 10 * 4]);
    for (const { p50_ms, p99_ms } of [all, slowest]) assert.ok(p50_ms > 0 && p50_ms <= p99_ms, stdout);
  },
};

try {
  await parts[part]();
} finally {
  streams.forEach((stream) => stream.close());
  cable.unplug();
  await program.kill();
  await gateway.stop();
  rmSync(folder, { recursive: true });
}
