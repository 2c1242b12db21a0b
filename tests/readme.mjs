// The clients of the README and of docs/centrifuge.md in headless Chromium, unchanged, on a gateway with the README's
// configuration: their connection is cut, for a moment and for too long.
//
//   node tests/readme.mjs TIDEGATE         the binary

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect as connectBus } from "nats";
import { launch } from "./browser.mjs";
import { Cable } from "./cable.mjs";
import { Gateway } from "./gateway.mjs";
import { PATIENCE_MS } from "./patience.mjs";

const README = "../README.md";
const CENTRIFUGE = "../docs/centrifuge.md";
const CHANNEL = "driver.location.42";
const KEPT = 100;

const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
const blocks = (page) => [...read(page).matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, text]) => ({ language, text }));

function block(page, language, part) {
  const found = blocks(page).filter((block) => block.language === language && block.text.includes(part));
  assert.equal(found.length, 1, `one block in ${language} with ${part} in ${page}`);
  return found[0].text;
}

/** A page of the gateway's own origin that has run `code` and listens; what it shows and reloads is recorded. */
async function run(browser, host, code, listens) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  page.on("console", (message) => console.error(message.text()));
  const imports = JSON.stringify({ imports: { centrifuge: "/centrifuge.mjs" } });
  const recorders = `const [shown, reloaded] = [[], []];
    const [show, reload] = [shown, reloaded].map((seen) => (what) => seen.push(what));`;
  const body = `<!doctype html><script>${recorders}</script><script type="importmap">${imports}</script>`;
  await page.route(`http://${host}/`, (route) => route.fulfill({ contentType: "text/html", body }));
  const centrifuge = { contentType: "text/javascript", body: read("node_modules/centrifuge/build/index.mjs") };
  await page.route(`http://${host}/centrifuge.mjs`, (route) => route.fulfill(centrifuge));
  await page.goto(`http://${host}/`);
  const content = `${code.replaceAll("wss://example.org", `ws://${host}`)}\n${listens};\nwindow.isListening = true;`;
  await page.addScriptTag({ type: "module", content });
  return page;
}

const told = async (page) => JSON.stringify(await page.evaluate(() => ({ shown, reloaded })));

async function see(page, words, test, argument) {
  const failed = async (error) => assert.fail(`in vain: ${words} (${error.message.split("\n")[0]})\n${await told(page)}`);
  await page.waitForFunction(test, argument, { timeout: PATIENCE_MS }).catch(failed);
  console.log(`  ${words}`);
}

/** What is published is a number each, the next one. */
async function play(page, gateway, cable, numbers) {
  const expected = [];
  const publish = async (count) => {
    for (let index = 0; index < count; index += 1) {
      expected.push(numbers.next().value);
      await gateway.publish(CHANNEL, expected.at(-1));
    }
  };
  const hasShown = (last) => shown.at(-1) === last;
  const shows = async (words) => {
    await see(page, words, hasShown, expected.at(-1));
    assert.deepEqual(await page.evaluate(() => shown), expected, words);
  };
  await publish(2);
  await shows("what is published is shown");
  cable.pull();
  await publish(3);
  await cable.plugIn();
  await shows("what was missed as well, once and in order");
  assert.deepEqual(await page.evaluate(() => reloaded), []);
  cable.pull();
  await publish(KEPT + 20);
  await cable.plugIn();
  expected.splice(5, 20);
  await shows("of what is too much to be kept, the end");
  assert.deepEqual(await page.evaluate(() => reloaded), [CHANNEL], "and that something is missing");
  await publish(1);
  await shows("and what follows");
}

const gateway = new Gateway(process.argv[2], block(README, "toml", "[[listener]]"), ["http", "bus", "admin"]);
await gateway.start();
const cable = new Cable(gateway.address("http"));
const host = `127.0.0.1:${await cable.plugIn()}`;
const worker = await connectBus({ servers: gateway.address("bus") });
worker.subscribe("tg.service.rides", {
  queue: "workers",
  callback: (_, message) => message.headers.get("Tg-Method") === "book" && message.respond('{"ride":7}'),
});
await worker.flush();
const numbers = (function* () {
  for (let number = 1; ; number += 1) yield number;
})();
const browser = await launch();
try {
  const opened = 'await new Promise((resolve) => stream.addEventListener("open", resolve))';
  const events = await run(browser, host, block(README, "js", "new EventSource("), opened);
  await see(events, "the README's EventSource is open", () => window.isListening);
  await play(events, gateway, cable, numbers);
  await events.close();
  const subscriber = await run(browser, host, block(CENTRIFUGE, "js", "new Centrifuge("), "await location.ready()");
  await see(subscriber, "the Centrifuge client of the docs has subscribed, and a worker has answered it", () => window.isListening);
  await play(subscriber, gateway, cable, numbers);
} finally {
  await browser.close();
  cable.unplug();
  await worker.close();
  await gateway.stop();
}
