// The client protocol through `centrifuge`, Centrifugo's own package for JavaScript, with a worker that speaks NATS. Prints
// `ok CASE` for each case and exits with 1 at a failure. After the last case it prints `ready` and waits for the gateway's
// drain.
//
// usage: node clients.mjs HOST:PORT (the gateway) HOST:PORT (its bus) HOST:PORT (over TLS) FOLDER (with its certificate,
// localhost.pem, and rsa.key, whose public half the route /rsa knows) HOST:PORT HOST:PORT (another gateway and its bus)

import assert from "node:assert/strict";
import { createHmac, createSign } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect as connectSocket, createServer } from "node:net";
import { Centrifuge } from "centrifuge";
import { connect as connectBus, headers, StringCodec } from "nats";
import WebSocket from "ws";
import { PATIENCE_MS, within } from "../../patience.mjs";

const [gateway, bus, secure, folder, successor, successorBus] = process.argv.slice(2);
const text = StringCodec();
const worker = await connectBus({ servers: bus, reconnect: false });

async function until(isTrue) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await isTrue())) {
    assert.ok(Date.now() < end, `in time: ${isTrue}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A promise of the next event, with its context. */
const next = (emitter, event) => within(new Promise((resolve) => emitter.once(event, resolve)), event);

/** All events of a kind, as they come. */
function record(emitter, event, part = (context) => context.data) {
  const seen = [];
  emitter.on(event, (context) => seen.push(part(context)));
  return seen;
}

/** Trusts the gateway's certificate alone. */
class OverTls extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { ca: readFileSync(`${folder}/localhost.pem`), servername: "localhost" });
  }
}

/** Runs `use` with a client, connected unless it says otherwise. */
async function client(path, options, use, address = gateway) {
  const isSecure = options.websocket === OverTls;
  const centrifuge = new Centrifuge(`${isSecure ? "wss" : "ws"}://${address}${path}`, {
    websocket: WebSocket,
    minReconnectDelay: 10,
    maxReconnectDelay: 100,
    ...options,
  });
  try {
    return await use(centrifuge);
  } finally {
    centrifuge.disconnect();
  }
}

async function connected(path, options, use, address) {
  return client(path, options, async (centrifuge) => {
    const context = next(centrifuge, "connected");
    centrifuge.connect();
    return use(centrifuge, await context);
  }, address);
}

async function subscribed(centrifuge, channel, options) {
  const subscription = centrifuge.newSubscription(channel, options);
  const context = next(subscription, "subscribed");
  subscription.subscribe();
  await context;
  return subscription;
}

const refused = (code) => (error) => error.code === code;

/** A token of the route /token. */
function token(claims, secret = "secret") {
  const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

/** Between a client and the gateway: counts what goes through, cuts it, and leads to another gateway. */
async function relay(use, target = gateway) {
  const pairs = new Set();
  const seen = { down: "", up: 0 };
  let isOpen = true;
  const server = createServer((down) => {
    if (!isOpen) return down.destroy();
    const [host, port] = target.split(":");
    const up = connectSocket({ host, port: Number(port) });
    const pair = [down, up];
    pairs.add(pair);
    for (const socket of pair) {
      socket.on("error", () => {});
      socket.on("close", () => pair.forEach((other) => other.destroy()));
    }
    up.on("data", (data) => (seen.down += data.toString("latin1")));
    down.on("data", () => (seen.up += 1));
    down.pipe(up).pipe(down);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    for (const pair of pairs) pair.forEach((socket) => socket.destroy());
    pairs.clear();
  };
  const turn = (other) => (target = other);
  /** Cut off while something happens. */
  const without = async (happens) => {
    isOpen = false;
    cut();
    await happens();
    isOpen = true;
  };
  try {
    return await use(`127.0.0.1:${server.address().port}`, cut, seen, without, turn);
  } finally {
    cut();
    server.close();
  }
}

const answers = {
  echo: (message) => message.respond(message.data),
  whoami: (message) => {
    const of = (name) => message.headers.get(name);
    message.respond(JSON.stringify({ user: of("Tg-User"), name: of("Tg-User-Name"), kind: of("Tg-Kind"), route: of("Tg-Route") }));
  },
  refuse: (message) => {
    const block = headers();
    block.set("Nats-Service-Error-Code", "409");
    block.set("Nats-Service-Error", "the seat is taken");
    message.respond("", { headers: block });
  },
  twice: (message) => {
    message.respond("1");
    message.respond("2");
  },
};
const heard = [];
const serving = worker.subscribe("tg.service.desk", {
  callback: (_, message) => {
    heard.push({ kind: message.headers.get("Tg-Kind"), conn: message.headers.get("Tg-Conn"), data: text.decode(message.data) });
    answers[message.headers.get("Tg-Method")]?.(message);
  },
});
await worker.flush();

const cases = {
  publish_subscribe: () =>
    connected("/desk?user=ann", {}, (ann) =>
      connected("/desk?user=bob", {}, async (bob, { client }) => {
        const room = await subscribed(ann, "room.1");
        const publications = record(room, "publication", (context) => context);
        await subscribed(bob, "room.1");
        await bob.publish("room.1", { x: 1 });
        worker.publish("room.1", text.encode('{"x":\n2}'));
        worker.publish("room.1", text.encode("plain"));
        worker.publish("room.1", new Uint8Array([255, 0]));
        await until(() => publications.length === 4);
        assert.deepEqual(publications.map(({ data }) => data), [{ x: 1 }, { x: 2 }, "plain", "/wA="]);
        assert.deepEqual(publications[0].info, { client, user: "bob" });
        const offsets = publications.map(({ offset }) => offset - publications[0].offset);
        assert.deepEqual(offsets, [0, 1, 2, 3]);
      })),

  order: () =>
    connected("/desk?user=ann", {}, async (ann) => {
      const room = await subscribed(ann, "room.order");
      const numbers = record(room, "publication");
      for (let number = 0; number < 500; number++) worker.publish("room.order", text.encode(String(number)));
      await until(() => numbers.length === 500);
      assert.deepEqual(numbers, [...Array(500).keys()]);
    }),

  permission: () =>
    connected("/desk?user=ann", {}, async (ann) => {
      for (const channel of ["secret", "tg.user.bob", "_INBOX.x"]) {
        const subscription = ann.newSubscription(channel);
        const context = next(subscription, "unsubscribed");
        subscription.subscribe();
        assert.equal((await context).code, 103, channel);
        await assert.rejects(ann.publish(channel, 1), refused(103));
      }
      await assert.rejects(ann.publish("news", 1), refused(103));
      await assert.rejects(ann.publish("two words", 1), refused(107));
    }),

  unsubscribe: () =>
    connected("/desk?user=ann", {}, async (ann) => {
      const [first, second] = [await subscribed(ann, "room.u1"), await subscribed(ann, "room.u2")];
      const seen = record(first, "publication");
      first.unsubscribe();
      await ann.publish("room.u2", 0);
      const after = next(second, "publication");
      await ann.publish("room.u1", 1);
      await ann.publish("room.u2", 2);
      await after;
      assert.deepEqual(seen, []);
      const again = next(first, "subscribed");
      first.subscribe();
      await again;
      await ann.publish("room.u1", 3);
      await until(() => seen.length === 1);
    }),

  rpc: () =>
    connected("/desk?user=ann", {}, async (ann) => {
      assert.deepEqual((await ann.rpc("echo", { a: [1.5, null] })).data, { a: [1.5, null] });
      assert.deepEqual((await ann.rpc("whoami")).data, { user: "ann", name: "ann", kind: "rpc", route: "/desk" });
      await assert.rejects(ann.rpc("refuse"), (error) => error.code === 409 && error.message === "the seat is taken");
      const both = await Promise.all([ann.rpc("twice"), ann.rpc("echo", "next")]);
      assert.deepEqual(both.map(({ data }) => data), [1, "next"]);
      const many = await Promise.all([...Array(60).keys()].map((number) => ann.rpc("echo", number)));
      assert.deepEqual(many.map(({ data }) => data), [...Array(60).keys()]);
    }),

  rpc_without_a_worker: () =>
    connected("/lonely", {}, async (lonely) => {
      await assert.rejects(lonely.rpc("echo", 1), (error) => error.code === 100 && error.temporary === true);
    }),

  rpc_without_a_service: () =>
    connected("/listen", {}, (listener) => assert.rejects(listener.rpc("echo", 1), refused(104))),

  send: () =>
    connected("/desk?user=ann", {}, async (ann, { client }) => {
      await ann.send({ to: "the worker" });
      const mine = () => heard.filter(({ conn }) => conn === client);
      await until(() => mine().length === 2);
      assert.deepEqual(mine().map(({ kind, data }) => [kind, data]), [["open", ""], ["message", '{"to":"the worker"}']]);
    }),

  messages: () =>
    connected("/desk?user=carl", {}, async (carl, { client }) => {
      const messages = record(carl, "message");
      worker.publish(`tg.conn.${client}`, text.encode('{"to":"conn"}'));
      await until(() => messages.length === 1);
      worker.publish("tg.user.carl", text.encode("to the user"));
      await until(() => messages.length === 2);
      assert.deepEqual(messages, [{ to: "conn" }, "to the user"]);
    }),

  server_side: () =>
    client("/desk?user=ann", {}, async (ann) => {
      const channels = record(ann, "subscribed", ({ channel }) => channel);
      const publications = record(ann, "publication", ({ channel, data }) => [channel, data]);
      const connecting = next(ann, "connected");
      ann.connect();
      const { client } = await connecting;
      await until(() => channels.length === 1);
      worker.publish("news", text.encode('"tide"'));
      await until(() => publications.length === 1);
      worker.publish(`tg.conn.${client}.subscribe`, text.encode("weather"));
      await until(() => channels.length === 2);
      worker.publish("weather", text.encode('"rain"'));
      await until(() => publications.length === 2);
      const gone = next(ann, "unsubscribed");
      worker.publish(`tg.conn.${client}.unsubscribe`, text.encode("weather"));
      assert.equal((await gone).channel, "weather");
      assert.deepEqual(channels, ["news", "weather"]);
      assert.deepEqual(publications, [["news", "tide"], ["weather", "rain"]]);
      const ended = next(ann, "disconnected");
      worker.publish(`tg.conn.${client}.close`, text.encode(""));
      assert.equal((await ended).code, 3503);
    }),

  worker_ends_a_clients_subscription: () =>
    connected("/desk?user=ann", {}, async (ann, { client }) => {
      const room = await subscribed(ann, "room.1");
      const gone = next(room, "unsubscribed");
      worker.publish(`tg.conn.${client}.unsubscribe`, text.encode("room.1"));
      assert.equal((await gone).code, 2000);
    }),

  batching: () =>
    relay((address) =>
      connected("/desk?user=ann", {}, async (ann) => {
        ann.startBatching();
        const room = ann.newSubscription("room.batch");
        const seen = record(room, "publication");
        room.subscribe();
        const results = Promise.all([...Array(200).keys()].map((number) => ann.publish("room.batch", number)));
        const call = ann.rpc("echo", "in the same frame");
        ann.stopBatching();
        await results;
        assert.equal((await call).data, "in the same frame");
        await until(() => seen.length === 200);
        assert.deepEqual(seen, [...Array(200).keys()]);
      }, address)),

  too_many_channels: () =>
    connected("/desk?user=ann", {}, async (ann) => {
      // `news` is one of them.
      const subscriptions = [...Array(127).keys()].map((number) => ann.newSubscription(`room.many.${number}`));
      const all = subscriptions.map((subscription) => next(subscription, "subscribed"));
      subscriptions.forEach((subscription) => subscription.subscribe());
      await Promise.all(all);
      const last = ann.newSubscription("room.many.last");
      const refusal = next(last, "unsubscribed");
      last.subscribe();
      assert.equal((await refusal).code, 106);
    }),

  pings: () =>
    relay((address, _, seen) =>
      connected("/desk?user=ann", { maxServerPingDelay: 3000 }, async (ann) => {
        const disconnects = record(ann, "disconnected");
        const before = seen.up;
        await until(() => seen.down.split("\x81\x02{}").length > 2);
        await until(() => seen.up >= before + 2);
        assert.deepEqual(disconnects, []);
      }, address)),

  cut: () =>
    relay((address, cut) =>
      connected("/desk?user=ann", {}, async (ann) => {
        const room = await subscribed(ann, "room.cut");
        const seen = record(room, "publication");
        await ann.publish("room.cut", 1);
        await until(() => seen.length === 1);
        const again = next(room, "subscribed");
        cut();
        await again;
        await ann.publish("room.cut", 2);
        await until(() => seen.length === 2);
        assert.deepEqual(seen, [1, 2]);
      }, address)),

  recovery: () =>
    relay((address, _cut, _seen, without) =>
      connected("/desk?user=ann", {}, (ann) =>
        connected("/desk?user=bob", {}, async (bob) => {
          const room = await subscribed(ann, "room.kept.recovery");
          const seen = record(room, "publication");
          const publish = async (from, to) => {
            for (let number = from; number <= to; number++) await bob.publish("room.kept.recovery", number);
          };
          const numbers = (to) => [...Array(to).keys()].map((index) => index + 1);
          await publish(1, 2);
          await until(() => seen.length === 2);
          const back = next(room, "subscribed");
          await without(() => publish(3, 4));
          const context = await back;
          assert.ok(context.wasRecovering && context.recovered && context.recoverable);
          await publish(5, 5);
          await until(() => seen.at(-1) === 5);
          assert.deepEqual(seen, numbers(5));
          const again = next(room, "subscribed");
          await without(() => publish(6, 20));
          const { wasRecovering, recovered, data } = await again;
          assert.deepEqual([wasRecovering, recovered, data.gap.reason, data.gap.channel], [true, false, "gone", "room.kept.recovery"]);
          await publish(21, 21);
          await until(() => seen.at(-1) === 21);
          assert.deepEqual(seen, [...numbers(5), ...numbers(21).slice(10)], "the ten that are kept, and what is live");
        }), address)),

  long_recovery: () =>
    relay((address, _cut, _seen, without) =>
      connected("/desk?user=ann", {}, (ann) =>
        connected("/desk?user=bob", {}, async (bob) => {
          const room = await subscribed(ann, "room.long");
          const seen = record(room, "publication", ({ data }) => data.number);
          const many = [...Array(1000).keys()];
          const publish = (number) => bob.publish("room.long", { number, text: "x".repeat(300) });
          const again = next(room, "subscribed");
          await without(() => Promise.all(many.map(publish)));
          assert.ok((await again).recovered);
          await publish(1000);
          await until(() => seen.length >= 1001);
          assert.deepEqual(seen, [...many, 1000]);
        }), address)),

  server_side_recovery: () =>
    relay((address, _cut, _seen, without) =>
      connected("/desk?user=bob", {}, (bob) =>
        client("/desk/side", {}, async (side) => {
          const publications = record(side, "publication", ({ channel, data }) => [channel, data]);
          const contexts = record(side, "subscribed", (context) => context);
          side.connect();
          await until(() => contexts.length === 2);
          await bob.publish("room.kept.side", 1);
          await until(() => publications.length === 1);
          await without(() => bob.publish("room.kept.side", 2));
          await until(() => publications.length === 2);
          const kept = contexts.slice(2).find(({ channel }) => channel === "room.kept.side");
          assert.ok(kept.wasRecovering && kept.recovered);
          assert.deepEqual(publications, [["room.kept.side", 1], ["room.kept.side", 2]]);
        }, address))),

  server_side_across_a_restart: () =>
    relay((address, _cut, _seen, without, turn) =>
      client("/desk/restart", {}, async (side) => {
        const other = await connectBus({ servers: successorBus, reconnect: false });
        const say = (bus, data) => (bus.publish("room.kept.restart", text.encode(String(data))), bus.flush());
        const publications = record(side, "publication", ({ channel, data }) => [channel, data]);
        const contexts = record(side, "subscribed", (context) => context);
        side.connect();
        await until(() => contexts.length === 2);
        await say(worker, 1);
        await until(() => publications.length === 1);
        for (const number of [2, 3]) await say(other, number);
        await without(async () => turn(successor));
        await until(() => publications.length === 3);
        await say(other, 4);
        await until(() => publications.length === 4);
        const back = contexts.slice(2).find(({ channel }) => channel === "room.kept.restart");
        assert.deepEqual([back.wasRecovering, back.recovered, back.data.gap.reason], [true, false, "epoch"]);
        assert.deepEqual(publications, [1, 2, 3, 4].map((number) => ["room.kept.restart", number]));
        await other.close();
      }, address)),

  history: () =>
    connected("/desk?user=ann", {}, async (ann) => {
      for (let number = 1; number <= 12; number++) await ann.publish("room.kept.history", number);
      const ask = async (options) => {
        const { publications, offset } = await ann.history("room.kept.history", options);
        return [publications.map(({ data }) => data), offset];
      };
      assert.deepEqual(await ask({ limit: 0 }), [[], 12]);
      assert.deepEqual(await ask({ limit: 3 }), [[3, 4, 5], 12]);
      assert.deepEqual(await ask({ limit: 2, reverse: true }), [[12, 11], 12]);
      assert.deepEqual((await ask({ limit: -1 }))[0].length, 10);
      const { epoch } = await ann.history("room.kept.history", { limit: 0 });
      assert.deepEqual(await ask({ limit: 100, since: { epoch, offset: 9 } }), [[10, 11, 12], 12]);
      assert.deepEqual(await ask({ limit: 2, since: { epoch, offset: 9 }, reverse: true }), [[8, 7], 12]);
      for (const since of [{ epoch, offset: 1 }, { epoch, offset: 99 }, { epoch: "00000000", offset: 9 }, { epoch: "_", offset: 9 }]) {
        await assert.rejects(ask({ limit: 1, since }), refused(112), JSON.stringify(since));
      }
      const many = await Promise.all([...Array(50).keys()].map(() => ask({ limit: 1 })));
      assert.ok(many.every(([[first]]) => first === 3));
      await assert.rejects(ann.history("room.1", { limit: 1 }), refused(108));
      await assert.rejects(ann.history("secret", { limit: 1 }), refused(103));
    }),

  token: () =>
    connected("/token", { token: token({ sub: "ann", info: { name: "Ann" }, channels: ["news"] }) }, async (ann) => {
      const room = await subscribed(ann, "room.token");
      const publication = next(room, "publication");
      await ann.publish("room.token", 1);
      const { info } = await publication;
      assert.deepEqual([info.user, info.connInfo], ["ann", { name: "Ann" }]);
      assert.deepEqual((await ann.rpc("whoami")).data.user, "ann");
      const news = next(ann, "publication");
      worker.publish("news", text.encode("1"));
      assert.equal((await news).channel, "news");
    }),

  tls: () =>
    relay((address, _cut, _seen, without) =>
      connected("/desk?user=ann", { websocket: OverTls }, (ann) =>
        connected("/desk?user=bob", {}, async (bob) => {
          const room = await subscribed(ann, "room.kept.tls");
          const seen = record(room, "publication");
          await bob.publish("room.kept.tls", 1);
          await until(() => seen.length === 1);
          const back = next(room, "subscribed");
          await without(() => bob.publish("room.kept.tls", "x".repeat(40_000)));
          assert.ok((await back).recovered);
          await until(() => seen.length === 2);
          assert.equal(seen[1].length, 40_000);
          assert.equal((await ann.rpc("whoami")).data.user, "ann");
        }), address), secure),

  token_rsa: async () => {
    const signed = (algorithm) => {
      const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
      const parts = `${part({ alg: algorithm, typ: "JWT" })}.${part({ sub: "ann" })}`;
      const signer = createSign(algorithm === "RS256" ? "RSA-SHA256" : "RSA-SHA512").update(parts);
      return `${parts}.${signer.sign(readFileSync(`${folder}/rsa.key`), "base64url")}`;
    };
    await connected("/rsa", { token: signed("RS256") }, async (ann) => {
      assert.equal((await ann.rpc("whoami")).data.user, "ann");
    });
    for (const bad of [signed("RS512"), token({ sub: "ann" }, readFileSync(`${folder}/rsa.pem`))]) {
      await client("/rsa", { token: bad }, async (ann) => {
        const ended = next(ann, "disconnected");
        ann.connect();
        assert.equal((await ended).code, 3500);
      });
    }
  },

  token_refused: async () => {
    for (const [bad, code] of [[token({ sub: "ann" }, "another secret"), 3500], ["x", 3500], ["", 101]]) {
      await client("/token", { token: bad }, async (ann) => {
        const ended = next(ann, "disconnected");
        ann.connect();
        assert.equal((await ended).code, code, bad);
      });
    }
  },

  // With a token alone, and without a function that would bring another.
  token_not_yet_valid: () =>
    client("/token", { token: token({ sub: "ann", nbf: inSeconds(2) }) }, async (ann) => {
      const ends = record(ann, "disconnected");
      const errors = record(ann, "error", ({ error }) => error);
      const connecting = next(ann, "connected");
      ann.connect();
      await connecting;
      assert.deepEqual(ends, []);
      assert.ok(errors.length > 0 && errors.every(({ code, temporary }) => code === 100 && temporary));
    }),

  token_of_any_user: async () => {
    for (const [sub, name, ofSubject] of [
      ["ann@example.org", "ann@example.org", "ann@example%2Eorg"],
      ["Ann Smith", "Ann Smith", "Ann%20Smith"],
      ["*", "*", "%2A"],
      [42, "42", "42"],
    ]) {
      await connected("/token", { token: token({ sub, exp: inSeconds(60) + 0.5 }) }, async (ann) => {
        const { user, name: heard } = (await ann.rpc("whoami")).data;
        assert.deepEqual([user, heard], [ofSubject, name]);
        const message = next(ann, "message");
        worker.publish(`tg.user.${ofSubject}`, text.encode("7"));
        assert.equal((await message).data, 7);
        const room = await subscribed(ann, "room.any");
        const publication = next(room, "publication");
        await ann.publish("room.any", 1);
        assert.equal((await publication).info.user, name);
      });
    }
  },

  token_expired: () =>
    client("/token", {
      token: token({ sub: "ann", exp: inSeconds(-1) }),
      getToken: async () => token({ sub: "ann", exp: inSeconds(60) }),
    }, async (ann) => {
      const connecting = next(ann, "connected");
      ann.connect();
      await connecting;
    }),

  token_refreshed: async () => {
    let refreshes = 0;
    const getToken = async () => token({ sub: "ann", exp: inSeconds(++refreshes > 1 ? 600 : 2) });
    await connected("/token", { token: token({ sub: "ann", exp: inSeconds(2) }), getToken }, async (ann) => {
      const ends = record(ann, "disconnected");
      await until(() => refreshes === 2);
      assert.equal((await ann.rpc("whoami")).data.user, "ann");
      assert.deepEqual(ends, []);
    });
  },

  subscription_token: () =>
    connected("/token", { token: token({ sub: "ann" }) }, async (ann) => {
      let refreshes = 0;
      const claims = (seconds) => ({ sub: "ann", channel: "vault", exp: inSeconds(seconds) });
      const getToken = async () => token(claims(++refreshes > 1 ? 600 : 2));
      const vault = await subscribed(ann, "vault", { token: token(claims(2)), getToken });
      await until(() => refreshes === 2);
      const publication = next(vault, "publication");
      worker.publish("vault", text.encode("1"));
      await publication;
      const other = ann.newSubscription("safe", { token: token(claims(60)) });
      const refusal = next(other, "unsubscribed");
      other.subscribe();
      assert.equal((await refusal).code, 103);
    }),

  joins_and_leaves: () =>
    relay((address, _cut, _seen, without) =>
      connected("/desk?user=bob", {}, async (bob) => {
        const events = [];
        const listening = worker.subscribe("tg.event.*.room.who.js", {
          callback: (_, { subject, data }) => events.push([subject.split(".")[2], JSON.parse(text.decode(data)).user]),
        });
        await worker.flush();
        const room = await subscribed(bob, "room.who.js", { joinLeave: true });
        const changes = [];
        for (const kind of ["join", "leave"]) room.on(kind, ({ info }) => changes.push([kind, info.user]));
        await connected("/desk?user=ann", {}, async (ann) => {
          const own = await subscribed(ann, "room.who.js");
          await until(() => changes.length === 1);
          const back = next(own, "subscribed");
          await without(async () => {});
          await back;
          const { clients } = await room.presence();
          assert.deepEqual(new Set(Object.values(clients).map(({ user }) => user)), new Set(["ann", "bob"]));
        }, address);
        await until(() => changes.length >= 2 && events.length >= 3);
        assert.deepEqual(changes, [["join", "ann"], ["leave", "ann"]]);
        assert.deepEqual(events, [["join", "bob"], ...changes]);
        listening.unsubscribe();
      })),

  not_available: () =>
    connected("/desk?user=ann", {}, async (ann) => {
      const room = await subscribed(ann, "room.1");
      await assert.rejects(room.presence(), refused(108));
      await assert.rejects(room.presenceStats(), refused(108));
      await assert.rejects(ann.presence("secret"), refused(103));
    }),

  bad_frames: async () => {
    for (const frame of ["hello", "{}\n[]", '{"id":1}', '{"id":1,"dance":{}}', '{"id":1,"subscribe":{}}', '{"id":1,"ping":{}}']) {
      const socket = new WebSocket(`ws://${gateway}/listen`, "centrifuge-json");
      await next(socket, "open");
      assert.equal(socket.protocol, "centrifuge-json");
      const code = new Promise((resolve) => socket.once("close", (code) => resolve(code)));
      socket.send(frame);
      assert.equal(await code, 3501, frame);
    }
    const other = new WebSocket(`ws://${gateway}/listen`, "centrifuge-protobuf");
    assert.match((await next(other, "error")).message, /400/);
  },

  late_answers: () =>
    connected("/desk?user=ann", {}, async (ann, { client }) => {
      assert.equal((await ann.rpc("echo", "the first call")).data, "the first call");
      for (const serial of ["1", "99", "-1", "x", "1.2"]) worker.publish(`tg.conn.${client}.answer.${serial}`, text.encode("1"));
      await worker.flush();
      assert.equal((await ann.rpc("echo", "still here")).data, "still here");
    }),
};

for (const [name, run] of Object.entries(cases)) {
  await run();
  console.log(`ok ${name}`);
}

// The gateway goes: the client is told to come back, and tries to.
await connected("/desk?user=ann", {}, async (ann) => {
  const leaving = next(ann, "connecting");
  console.log("ready");
  const { code, reason } = await leaving;
  assert.deepEqual([code, reason], [3001, "shutdown"]);
});
serving.unsubscribe();
await worker.close();
console.log("ok drain");
process.exit(0);
