// Three people and a page edit one document, through tunnels and the worker's death.
//
//   node tests/program/examples/collaboration.mjs TIDEGATE (the binary) PYTHON

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Centrifuge } from "centrifuge";
import WebSocket from "ws";
import { SharedDocument } from "../../../examples/collaboration/document.mjs";
import { launch } from "../../browser.mjs";
import { Cable } from "../../cable.mjs";
import { until } from "../../patience.mjs";
import { exampleGateway, Program } from "./program.mjs";

const [binary, python] = process.argv.slice(2);
// Node 18 has it under this name alone; pages and later versions have it as it is.
globalThis.crypto ??= webcrypto;

class Editor {
  constructor(name, address) {
    this.name = name;
    this.client = new Centrifuge(`ws://${address}/connection/websocket?name=${name}`, {
      websocket: WebSocket,
      minReconnectDelay: 10,
      maxReconnectDelay: 100,
    });
    this.shared = new SharedDocument(this.client, "plan");
    this.client.connect();
  }

  /** So many edits, of cells that others edit as well. */
  edit(count) {
    for (let number = 1; number <= count; number += 1) {
      this.shared.edit(`${"ABC"[number % 3]}${1 + (number % 4)}`, `${this.name} ${number}`);
    }
  }

  leave() {
    this.shared.close();
    this.client.disconnect();
  }
}

const document = ({ shared }) => JSON.stringify(Object.entries(shared.cells).sort());
const stand = (editors) =>
  editors.map(({ name, client, shared }) => `${name}: ${client.state}, ${shared.version}, ${shared.pending} pending, ${shared.people}`).join("\n");

/** All have the document with so many edits, and nothing more to say. */
async function converge(words, version, ...editors) {
  await until(words, () => editors.every(({ shared }) => shared.version >= version && shared.pending === 0), () => stand(editors));
  for (const editor of editors) {
    assert.equal(editor.shared.version, version, `each edit was done once\n${stand(editors)}`);
    assert.equal(document(editor), document(editors[0]), `${editor.name} has what ${editors[0].name} has`);
  }
}

async function see(editor, people) {
  await until(`${editor.name} sees ${people}`, () => editor.shared.people.join() === people.join(), () => stand([editor]));
}

async function tunnels(ann, bob, eve, cable) {
  [ann, bob, eve].forEach((editor) => editor.edit(20));
  await converge("three people edit the same cells", 60, ann, bob, eve);
  await see(ann, ["ann", "bob", "eve"]);

  cable.pull();
  await see(ann, ["ann", "bob"]);
  eve.edit(10);
  ann.edit(20);
  await converge("the others go on while one is in a tunnel", 80, ann, bob);
  assert.equal(eve.shared.pending, 10);
  await cable.plugIn();
  await converge("back from it, all have the same", 90, ann, bob, eve);
  assert.equal(eve.shared.loads, 1, "what was missed came by itself");
  await see(ann, ["ann", "bob", "eve"]);

  cable.mute();
  eve.shared.edit("A1", "with a lost answer");
  await converge("an edit whose answer was lost", 91, ann, bob);
  assert.equal(eve.shared.pending, 1);
  cable.pull();
  await cable.plugIn();
  await converge("is confirmed by what it missed", 91, ann, bob, eve);
  const edit = { document: "plan", id: webcrypto.randomUUID(), cell: "A2", value: "said twice" };
  const answers = [await eve.client.rpc("edit", edit), await eve.client.rpc("edit", edit)];
  assert.deepEqual(answers[0], answers[1]);
  await converge("an edit that is said twice is done once", 92, ann, bob, eve);

  cable.pull();
  ann.edit(60);
  await converge("more happens than is kept", 152, ann, bob);
  await cable.plugIn();
  await until("so the document is asked for as a whole", () => eve.shared.loads === 2, () => stand([eve]));
  await converge("and all have the same", 152, ann, bob, eve);
}

async function accidents(ann, bob, eve, worker) {
  await worker.kill();
  [ann, bob, eve].forEach((editor) => editor.edit(1));
  await worker.start();
  await converge("nothing is lost with the worker", 155, ann, bob, eve);
  assert.equal(ann.shared.loads, 1);

  const refusal = new Promise((resolve) => ann.shared.addEventListener("refused", resolve, { once: true }));
  ann.shared.edit("nowhere", "1");
  ann.shared.edit("A1", "after it");
  assert.equal((await refusal).error.code, 422);
  await converge("what the worker refuses is given up, and what follows is not", 156, ann, bob, eve);
  assert.ok(!("nowhere" in ann.shared.cells));

  bob.leave();
  await see(ann, ["ann", "eve"]);
}

async function crash(gateway, ann, eve) {
  await gateway.kill();
  [ann, eve].forEach((editor) => editor.edit(2));
  const loads = ann.shared.loads;
  await gateway.start();
  await until("another gateway has another history", () => ann.shared.loads === loads + 1, () => stand([ann]));
  await converge("but nothing is lost with the first", 160, ann, eve);
  await see(ann, ["ann", "eve"]);
}

async function page(ann, eve, cable, url) {
  const browser = await launch();
  try {
    const tab = await browser.newPage();
    const field = (cell) => tab.inputValue(`#${cell}`);
    const isOnline = () => tab.evaluate(() => document.getElementById("state").dataset.online);
    await tab.goto(`${url}/collaboration/?name=dan&gateway=127.0.0.1:${await cable.plugIn()}`);
    await until("a page shows the document", async () => (await field("A1")) === "after it");
    await see(ann, ["ann", "dan", "eve"]);
    await until("and who is there", async () => (await tab.innerText("#people")).includes("dan"));
    await tab.fill("#D4", "from the page");
    await tab.press("#D4", "Enter");
    await converge("what is typed there reaches everybody", 161, ann, eve);
    assert.equal(ann.shared.cells.D4, "from the page");

    cable.pull();
    await until("the page knows that it is in a tunnel", async () => (await isOnline()) === "false");
    await tab.fill("#D5", "from the tunnel");
    await tab.press("#D5", "Enter");
    ann.shared.edit("D6", "meanwhile");
    await tab.reload();
    await until("what was typed there survives a reload", async () => (await field("D5")) === "from the tunnel");
    assert.match(await tab.innerText("#state"), /1 to be said/);
    await cable.plugIn();
    await until("and is said when it is back", () => ann.shared.cells.D5 === "from the tunnel");
    await until("where it sees what it missed", async () => (await field("D6")) === "meanwhile");
    await converge("and all have the same", 163, ann, eve);
  } finally {
    await browser.close();
  }
}

const pages = new Program(python, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", "examples");
const [url] = (await pages.start()).match(/http:[^/]*\/\/[^/]*/);
const gateway = exampleGateway(binary, "collaboration", {
  TIDEGATE_ROUTE_0_ORIGINS: url,
  TIDEGATE_CHANNEL_0_HISTORY_MESSAGES: "50",
  TIDEGATE_CHANNEL_0_PRESENCE_GRACE_S: "1",
});
await gateway.start();
const cable = new Cable(gateway.address("http"));
const folder = mkdtempSync(join(tmpdir(), "tidegate-"));
const worker = new Program(python, "examples/collaboration/worker.py", `nats://${gateway.address("bus")}`, folder);
const editors = [];
try {
  await worker.start();
  const through = `127.0.0.1:${await cable.plugIn()}`;
  const direct = gateway.address("http");
  editors.push(new Editor("ann", direct), new Editor("bob", direct), new Editor("eve", through));
  const [ann, bob, eve] = editors;
  await tunnels(ann, bob, eve, cable);
  await accidents(ann, bob, eve, worker);
  await crash(gateway, ann, eve);
  await page(ann, eve, cable, url);
} finally {
  editors.forEach((editor) => editor.leave());
  cable.unplug();
  await worker.kill();
  await gateway.stop();
  await pages.kill();
  rmSync(folder, { recursive: true });
}
