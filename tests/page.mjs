// Drives the demo's page in headless Chromium: positions move, the chat reaches the other tab, a ride times out and one is
// accepted, and the page comes back when the gateway has restarted.
//
//   node tests/page.mjs COMMAND...         run with --port N --tls-port N --admin-port N added; prints its URLs, ends on SIGINT
//   TIDEGATE_SCREENSHOT=docs/demo.png      keeps a picture of the page

import { spawn } from "node:child_process";
import { launch } from "./browser.mjs";
import { fail, PATIENCE_MS, within } from "./patience.mjs";
import { freePort } from "./ports.mjs";

// Four streams, the rider's and the driver's app, the chat.
const CONNECTIONS = 7;

class Gateway {
  constructor(command, port, tlsPort, adminPort) {
    this.command = [...command, "--port", String(port), "--tls-port", String(tlsPort), "--admin-port", String(adminPort)];
    this.admin = `http://127.0.0.1:${adminPort}/`;
    this.url = `http://127.0.0.1:${port}/`;
    this.tlsUrl = `https://127.0.0.1:${tlsPort}/`;
  }

  // Runs until the process has printed its URL.
  async start() {
    const [program, ...args] = this.command;
    this.process = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.ended = new Promise((resolve) => this.process.once("exit", (code, signal) => resolve({ code, signal })));
    let output = "";
    const isReady = new Promise((resolve) => {
      this.process.stdout.on("data", (bytes) => {
        output += bytes;
        if (output.includes(this.url)) resolve(true);
      });
    });
    await within(Promise.race([isReady, this.ended.then(({ code }) => fail(`the gateway ended with ${code}: ${output}`))]),
      "the gateway prints its URL");
  }

  // Ctrl-C, and a clean end.
  async stop() {
    this.process.kill("SIGINT");
    const { code, signal } = await within(this.ended, "the gateway ends after SIGINT");
    if (code !== 0) fail(`the gateway ended with ${code ?? signal} after SIGINT`);
  }
}

// Waits until `test` is true in the page; what the page shows is told when it never is.
async function see(page, words, test, argument) {
  try {
    await page.waitForFunction(test, argument, { timeout: PATIENCE_MS });
  } catch (error) {
    const shown = await page.evaluate(() => document.body.innerText).catch(() => "");
    fail(`in vain: ${words} (${error.message.split("\n")[0]})\n${shown}`);
  }
  console.log(`  ${words}`);
}

// The clauses below run in the page.
const areLive = (count) => document.querySelectorAll('[data-connection][data-state="live"]').length === count;
const hasStatus = ([id, state]) => document.getElementById(id).dataset.state === state;
const says = ([id, words]) => document.getElementById(id).textContent === words;
const isEnabled = (id) => !document.getElementById(id).disabled;
const hasSaid = ([who, text]) => [...document.querySelectorAll(`#chat-log .${who} .said`)].some((said) => said.textContent === text);
const drivers = () => Object.fromEntries([...document.querySelectorAll("[data-lat]")].map(({ dataset }) => [dataset.connection, dataset]));
const haveHeardMore = (before) =>
  [...document.querySelectorAll("[data-lat]")].every(({ dataset }) =>
    Number(dataset.messages) >= Number(before[dataset.connection].messages) + 3);

// In a tab the driver's app of this driver; "" is off duty.
const drive = (tab, driver) => tab.check(`#drive-as input[value="${driver}"]`, { force: true });

async function openTab(context, url, problems) {
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(error.stack));
  await page.goto(url);
  return page;
}

async function positionsMove(page) {
  await see(page, "all connections are live", areLive, CONNECTIONS);
  await see(page, "four drivers are on the map", () => document.querySelectorAll("[data-lat]").length === 4);
  const before = await page.evaluate(drivers);
  // 0.0001 degrees are about ten metres; the longest red light is shorter than our patience.
  await see(page, "every driver has moved on", (before) =>
    [...document.querySelectorAll("[data-lat]")].every(({ dataset }) => {
      const from = before[dataset.connection];
      return Math.hypot(dataset.lat - from.lat, dataset.lng - from.lng) > 0.0001;
    }), before);
  for (const [name, { latency }] of Object.entries(await page.evaluate(drivers))) {
    if (!(Number(latency) >= 0 && Number(latency) < 5_000)) fail(`${name} shows a latency of ${latency} ms`);
  }
}

// One tab holds the streams for all; when it is closed, another one opens its own.
async function streamsPassToTheNextTab(first, page) {
  await first.close();
  const before = await page.evaluate(drivers);
  await see(page, "when the tab that holds the streams is closed, another takes over", haveHeardMore, before);
}

async function chatReachesTheOtherTab(page, other) {
  await see(other, "a second tab is live as well", areLive, CONNECTIONS);
  const say = async (tab, text) => {
    await tab.fill("#chat-text", text);
    await tab.press("#chat-text", "Enter");
  };
  await page.fill("#chat-name", "Otter");
  await other.fill("#chat-name", "Heron");
  await say(page, "Is anybody else on the tide tonight?");
  await see(other, "a message reaches the other tab", hasSaid, ["theirs", "Is anybody else on the tide tonight?"]);
  await say(other, "Two of us. Meet you at Gran Via?");
  await see(page, "and so does the answer", hasSaid, ["theirs", "Two of us. Meet you at Gran Via?"]);
  await see(page, "the sender sees its own message", hasSaid, ["mine", "Is anybody else on the tide tonight?"]);
}

// A word that is no JSON, as a visitor publishes it who did not read the line to its end.
async function wordsReachTheChat(page, gateway) {
  await fetch(`${gateway.admin}api/channels/room.lobby`, { method: "POST", body: "hello" });
  await see(page, "a word that is published as it stands is shown as it stands", hasSaid, ["theirs", "hello"]);
}

// Rider and driver are told one truth, whatever ends an offer, and so are two apps of one driver.
async function ridesAreOffered(page, other) {
  await page.click("#request");
  await see(page, "a ride is offered to the driver", isEnabled, "accept");
  await see(page, "without an answer it runs out, and the rider knows", says, ["rider-status", "No driver took the ride. Try again?"]);
  await see(page, "and the driver too", says, ["driver-status", "You did not answer in time."]);
  await page.click("#request");
  await see(page, "the next one is offered", isEnabled, "accept");
  await drive(other, "42");
  await see(other, "and shown to the same driver's app in another tab", isEnabled, "accept");
  await page.click("#decline");
  for (const tab of [page, other]) {
    await see(tab, "that the driver has declined it, each of the driver's apps says", says, ["driver-status", "You have declined the ride."]);
  }
  await see(page, "and the rider hears that it found no driver", says, ["rider-status", "No driver took the ride. Try again?"]);
  await other.close();
  await page.click("#request");
  await see(page, "another one is offered", isEnabled, "accept");
  await page.click("#request");
  await see(page, "cancelled by the rider, it is", says, ["rider-status", "Cancelled."]);
  await see(page, "and the driver hears of it", says, ["driver-status", "The rider has cancelled."]);
  await drive(page, "");
  await page.click("#request");
  await see(page, "while no driver is there, the rider hears that", says, ["rider-status", "No driver is free. Try again?"]);
  await drive(page, "42");
  await see(page, "the driver is on duty again", says, ["driver-status", "On duty, waiting for rides."]);
  await page.click("#request");
  await see(page, "and is offered the last one", isEnabled, "accept");
  if (process.env.TIDEGATE_SCREENSHOT) await page.screenshot({ path: process.env.TIDEGATE_SCREENSHOT, animations: "disabled" });
  await page.click("#accept");
  await see(page, "the driver has it", hasStatus, ["driver-status", "good"]);
  await see(page, "and the rider knows", hasStatus, ["rider-status", "good"]);
}

async function worksOverTls(browser, gateway, problems) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await openTab(context, gateway.tlsUrl, problems);
  await see(page, "over TLS all connections are live too", areLive, CONNECTIONS);
  await see(page, "and drivers are on the map", () => document.querySelectorAll("[data-lat]").length === 4);
  await context.close();
}

async function pageRecovers(page, gateway) {
  await gateway.stop();
  await see(page, "without a gateway nothing is live", areLive, 0);
  const before = await page.evaluate(drivers);
  await gateway.start();
  await see(page, "all connections are live again", areLive, CONNECTIONS);
  await see(page, "messages flow again", haveHeardMore, before);
  const markup = "<b>back</b> again & <img src=x>";
  await page.fill("#chat-text", markup);
  await page.press("#chat-text", "Enter");
  await see(page, "the chat works again, and shows markup as text", hasSaid, ["mine", markup]);
}

const command = process.argv.slice(2);
if (command.length === 0) fail("usage: node tests/page.mjs COMMAND...");
const gateway = new Gateway(command, await freePort(), await freePort(), await freePort());
const problems = [];
let browser;
try {
  await gateway.start();
  browser = await launch();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "light" });
  const first = await openTab(context, gateway.url, problems);
  await see(first, "the first tab is live", areLive, CONNECTIONS);
  const page = await openTab(context, gateway.url, problems);
  await positionsMove(page);
  await streamsPassToTheNextTab(first, page);
  const other = await openTab(context, gateway.url, problems);
  // Two apps of one driver would both be offered what this test wants to answer once.
  await drive(other, "");
  await see(other, "a tab can go off duty", areLive, CONNECTIONS - 1);
  await drive(other, "7");
  await chatReachesTheOtherTab(page, other);
  await wordsReachTheChat(page, gateway);
  await ridesAreOffered(page, other);
  await worksOverTls(browser, gateway, problems);
  await pageRecovers(page, gateway);
  await gateway.stop();
  if (problems.length > 0) fail(`the page threw: ${problems.join("\n")}`);
} catch (error) {
  console.error(`tests/page.mjs: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  gateway.process?.kill("SIGKILL");
}
