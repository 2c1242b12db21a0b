// The bus through `nats`, the official client of Node: prints `ok CASE` for each case, exits with 1 at a failure.
//
// usage: node clients.mjs nats://USER:PASSWORD@HOST:PORT

import assert from "node:assert/strict";
import { connect, Empty, ErrorCode, headers, StringCodec } from "nats";

const url = new URL(process.argv[2].replace(/^nats:/, "http:"));
const [user, pass] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
const PATIENCE_MS = 10_000;
const text = StringCodec();

const options = (more = {}) => ({ servers: url.host, user, pass, reconnect: false, timeout: PATIENCE_MS, ...more });

/** Runs `use` with `count` connections and closes them; an error of one of them fails the case. */
async function connected(count, more, use) {
  const clients = await Promise.all(Array.from({ length: count }, () => connect(options(more))));
  const errors = [];
  for (const client of clients) {
    (async () => {
      for await (const status of client.status()) if (status.type === "error") errors.push(status.data);
    })();
  }
  try {
    await use(...clients);
    assert.deepEqual(errors, []);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}

/** The next `count` messages of a subscription. */
async function take(subscription, count) {
  const messages = [];
  if (count === 0) return messages;
  for await (const message of subscription) {
    messages.push(message);
    if (messages.length === count) break;
  }
  return messages;
}

async function until(isTrue) {
  const end = Date.now() + PATIENCE_MS;
  while (!isTrue()) {
    assert.ok(Date.now() < end, `in time: ${isTrue}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const strings = (messages) => messages.map((message) => text.decode(message.data));

const cases = {
  publish_subscribe: () =>
    connected(2, {}, async (worker, publisher) => {
      const subscription = worker.subscribe("js.one");
      await worker.flush();
      publisher.publish("js.two", "not for us");
      publisher.publish("js.one", "hello");
      const [message] = await take(subscription, 1);
      assert.deepEqual([message.subject, message.string()], ["js.one", "hello"]);
    }),

  order: () =>
    connected(2, {}, async (worker, publisher) => {
      const subscription = worker.subscribe("js.order");
      await worker.flush();
      const sent = Array.from({ length: 5000 }, (_, number) => String(number));
      for (const payload of sent) publisher.publish("js.order", payload);
      assert.deepEqual(strings(await take(subscription, sent.length)), sent);
    }),

  wildcard_token: () =>
    connected(1, {}, async (client) => {
      const subscription = client.subscribe("js.*.location");
      for (const subject of ["js.location", "js.1.location", "js.1.2.location", "js.2.location"]) {
        client.publish(subject, subject);
      }
      await until(() => subscription.getReceived() >= 2);
      await client.flush();
      await subscription.drain();
      assert.deepEqual(strings(await take(subscription, Infinity)).sort(), ["js.1.location", "js.2.location"]);
    }),

  wildcard_rest: () =>
    connected(1, {}, async (client) => {
      const subscription = client.subscribe("js.rest.>");
      for (const subject of ["js.rest", "js.rest.1", "js.other.1", "js.rest.1.2.3"]) client.publish(subject, subject);
      await until(() => subscription.getReceived() >= 2);
      await client.flush();
      await subscription.drain();
      assert.deepEqual(strings(await take(subscription, Infinity)).sort(), ["js.rest.1", "js.rest.1.2.3"]);
    }),

  queue_group: () =>
    connected(3, {}, async (one, two, publisher) => {
      const members = [[one, "a"], [one, "a"], [two, "a"], [two, "b"], [two, undefined]].map(
        ([client, queue]) => [queue, client.subscribe("js.jobs", { queue })],
      );
      await Promise.all([one.flush(), two.flush()]);
      const jobs = Array.from({ length: 300 }, (_, number) => String(number));
      for (const job of jobs) publisher.publish("js.jobs", job);
      const received = () => members.reduce((sum, [, subscription]) => sum + subscription.getReceived(), 0);
      await until(() => received() >= 3 * jobs.length);
      await Promise.all(members.map(([, subscription]) => subscription.drain()));
      const taken = { a: [], b: [], undefined: [] };
      for (const [queue, subscription] of members) {
        const share = strings(await take(subscription, Infinity));
        assert.ok(share.length > 0, "every member gets its share");
        taken[queue].push(...share);
      }
      const sorted = (list) => [...list].sort((a, b) => a - b);
      for (const group of ["a", "b", "undefined"]) assert.deepEqual(sorted(taken[group]), jobs, group);
    }),

  request_reply: () =>
    connected(2, {}, async (worker, client) => {
      worker.subscribe("js.upper", { callback: (_, message) => message.respond(message.string().toUpperCase()) });
      await worker.flush();
      const numbers = Array.from({ length: 50 }, (_, number) => number);
      const replies = await Promise.all(
        numbers.map((number) => client.request("js.upper", `a${number}`, { timeout: PATIENCE_MS })),
      );
      assert.deepEqual(strings(replies), numbers.map((number) => `A${number}`));
      const alone = await client.request("js.upper", "old", { timeout: PATIENCE_MS, noMux: true });
      assert.equal(alone.string(), "OLD");
    }),

  no_responders: () =>
    connected(1, {}, async (client) => {
      for (const noMux of [false, true]) {
        const request = client.request("js.nobody", "?", { timeout: PATIENCE_MS, noMux });
        await assert.rejects(request, (error) => error.code === ErrorCode.NoResponders);
      }
    }),

  headers: () =>
    connected(1, {}, async (client) => {
      const subscription = client.subscribe("js.headers");
      const sent = headers();
      sent.set("Tg-Event", "move");
      sent.append("Many", "1");
      sent.append("Many", "2");
      client.publish("js.headers", "x", { headers: sent });
      client.publish("js.headers", Empty, { headers: sent });
      client.publish("js.headers", "bare");
      const [full, empty, bare] = await take(subscription, 3);
      for (const message of [full, empty]) {
        assert.equal(message.headers.get("Tg-Event"), "move");
        assert.deepEqual(message.headers.values("Many"), ["1", "2"]);
      }
      assert.deepEqual(strings([full, empty, bare]), ["x", "", "bare"]);
      assert.equal(bare.headers, undefined);
    }),

  auto_unsubscribe: () =>
    connected(1, {}, async (client) => {
      const limited = client.subscribe("js.max", { max: 2 });
      const control = client.subscribe("js.max");
      for (const payload of ["0", "1", "2", "3"]) client.publish("js.max", payload);
      assert.deepEqual(strings(await take(control, 4)), ["0", "1", "2", "3"]);
      assert.deepEqual(strings(await take(limited, Infinity)), ["0", "1"]);
      assert.ok(limited.isClosed());
    }),

  drain: () =>
    connected(1, {}, async (publisher) => {
      const worker = await connect(options());
      const subscription = worker.subscribe("js.drain");
      await worker.flush();
      const sent = Array.from({ length: 100 }, (_, number) => String(number));
      for (const payload of sent) publisher.publish("js.drain", payload);
      await until(() => subscription.getReceived() === sent.length);
      const received = take(subscription, Infinity);
      await worker.drain();
      assert.deepEqual(strings(await received), sent);
      assert.ok(worker.isClosed());
    }),

  verbose_and_pedantic: () =>
    connected(1, { verbose: true, pedantic: true }, async (client) => {
      const subscription = client.subscribe("js.verbose.*");
      client.publish("js.verbose.1", "x");
      await client.flush();
      assert.deepEqual(strings(await take(subscription, 1)), ["x"]);
    }),

  no_echo: () =>
    connected(1, { noEcho: true }, (silent) =>
      connected(1, {}, async (other) => {
        const [own, others] = [silent.subscribe("js.echo"), other.subscribe("js.echo")];
        await Promise.all([silent.flush(), other.flush()]);
        silent.publish("js.echo", "own");
        assert.deepEqual(strings(await take(others, 1)), ["own"]);
        other.publish("js.echo", "other's");
        assert.deepEqual(strings(await take(own, 1)), ["other's"]);
      })),

  max_payload: () =>
    connected(1, {}, async (client) => {
      const subscription = client.subscribe("js.large");
      const largest = new Uint8Array(client.info.max_payload).map((_, index) => index);
      client.publish("js.large", largest);
      const [message] = await take(subscription, 1);
      assert.ok(Buffer.from(largest).equals(message.data));
      const tooLarge = new Uint8Array(largest.length + 1);
      assert.throws(() => client.publish("js.large", tooLarge), { code: ErrorCode.MaxPayloadExceeded });
    }),

  text_and_binary: () =>
    connected(1, {}, async (client) => {
      const subscription = client.subscribe("js.bytes");
      const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      const sent = ["grüße 🌊", every, "\r\n", "MSG x 1 1\r\nx\r\n", ""].map((payload) => Buffer.from(payload));
      for (const payload of sent) client.publish("js.bytes", payload);
      const received = (await take(subscription, sent.length)).map((message) => Buffer.from(message.data));
      assert.deepEqual(received, sent);
    }),

  slips: () =>
    connected(1, {}, async (client) => {
      const subscription = client.subscribe("js.slips");
      for (const slip of ["js..7", ".js", "js.", "*", "js.*"]) client.publish(slip, "lost");
      await assert.rejects(client.request("js..7"), (error) => error.code === ErrorCode.NoResponders);
      client.publish("js.slips", "x");
      assert.deepEqual(strings(await take(subscription, 1)), ["x"]);
    }),

  async wrong_credentials() {
    for (const wrong of [{ pass: "wrong" }, { user: undefined, pass: undefined }, { user: undefined, pass: undefined, token: pass }]) {
      await assert.rejects(connect(options(wrong)), (error) => error.code === ErrorCode.AuthorizationViolation);
    }
  },
};

for (const [name, run] of Object.entries(cases)) {
  const watchdog = setTimeout(() => {
    console.log(`failed ${name}: nothing happened for too long`);
    process.exit(1);
  }, 6 * PATIENCE_MS);
  try {
    await run();
  } catch (error) {
    console.log(`failed ${name}: ${error}`);
    throw error;
  } finally {
    clearTimeout(watchdog);
  }
  console.log(`ok ${name}`);
}
