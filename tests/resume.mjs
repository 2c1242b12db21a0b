// An EventSource in headless Chromium whose connection is cut, again and again: it misses nothing and hears nothing twice,
// or hears of the gap.
//
//   node tests/resume.mjs TIDEGATE         the binary

import { Cable } from "./cable.mjs";
import { beside } from "./pages.mjs";
import { fail, PATIENCE_MS } from "./patience.mjs";

const KEPT = 5;
const CONFIGURATION = `
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

async function publish(gateway, name, ...payloads) {
  for (const payload of payloads) await gateway.publish(`one.${name}`, payload);
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
  await publish(gateway, "a", 1, 2);
  await cable.plugIn();
  await hears(page, "what was said before its first event is not missed", ["1", "2"]);
  for (const round of [1, 2, 3]) {
    await publish(gateway, "a", `live ${round}`);
    await see(page, `it hears what is live, ${round}`, (last) => window.heard.at(-1) === last, `live ${round}`);
    cable.pull();
    await publish(gateway, "a", `missed ${round}`);
    await cable.plugIn();
    await see(page, `and what it missed, ${round}`, (last) => window.heard.at(-1) === last, `missed ${round}`);
  }
  const rounds = [1, 2, 3].flatMap((round) => [`live ${round}`, `missed ${round}`]);
  await hears(page, "in order, and each once", ["1", "2", ...rounds]);

  cable.pull();
  await publish(gateway, "a", 1, 2, 3, 4, 5, 6, 7);
  await cable.plugIn();
  const kept = ["3", "4", "5", "6", "7"];
  await hears(page, "too long away: a gap, and what is kept", ["1", "2", ...rounds, "gap gone", ...kept]);

  await page.evaluate(listen, `${url}/one/a?last_event_id=nonsense`);
  await hears(page, "an id that is none: a gap, and what is kept", ["gap malformed", ...kept]);
  cable.pull();
  await publish(gateway, "a", 8);
  await cable.plugIn();
  await hears(page, "the id of the header wins when it comes back", ["gap malformed", ...kept, "8"]);

  await page.evaluate(listen, `${url}/two/b/c`);
  await see(page, "a stream of two channels opens", hasOpened, 1);
  await publish(gateway, "b", "b1");
  await hears(page, "it hears one of them", ["b1"]);
  cable.pull();
  await publish(gateway, "c", "c1");
  await cable.plugIn();
  await hears(page, "and comes back to both", ["b1", "c1"]);
}

await beside(() => CONFIGURATION, async ({ gateway, visit }) => {
  const cable = new Cable(gateway.address("http"));
  try {
    const page = await visit();
    await play(page, gateway, cable, `http://127.0.0.1:${await cable.plugIn()}`);
  } finally {
    cable.unplug();
  }
});
