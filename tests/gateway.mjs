// The binary with a configuration of a test's choice, on loopback.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fail, PATIENCE_MS, within } from "./patience.mjs";
import { freePort } from "./ports.mjs";

/** The keys of their addresses. */
const DOORS = { http: "LISTENER_0", bus: "BUS", admin: "ADMIN" };

export class Gateway {
  #said = "";
  #ports = {};

  /** `doors` are where it listens: http, bus, admin. `environment` changes its configuration. */
  constructor(binary, configuration, doors, environment = {}) {
    this.binary = binary;
    this.doors = doors;
    this.environment = environment;
    this.folder = mkdtempSync(join(tmpdir(), "tidegate-"));
    this.file = join(this.folder, "tidegate.toml");
    writeFileSync(this.file, configuration);
  }

  /**
   * Until it listens: on free ports the first time, and then on the same. The kernel frees the ports of a process that was killed
   * on io_uring a moment after its end.
   */
  async start() {
    const hasRun = this.doors.some((door) => this.port(door));
    const until = Date.now() + PATIENCE_MS;
    for (;;) {
      const isOver = !hasRun || Date.now() > until;
      try {
        return await this.#start();
      } catch (error) {
        if (isOver) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #start() {
    this.#ports = Object.fromEntries(await Promise.all(this.doors.map(async (door) => [door, this.port(door) ?? (await freePort())])));
    const addresses = this.doors.map((door) => [`TIDEGATE_${DOORS[door]}_ADDRESS`, this.address(door)]);
    const env = { ...process.env, ...this.environment, ...Object.fromEntries(addresses) };
    this.#said = "";
    this.process = spawn(this.binary, ["serve", "--config", this.file], { env, stdio: ["ignore", "pipe", "inherit"] });
    this.ended = once(this.process, "exit");
    await within(new Promise((resolve, reject) => {
      this.process.stdout.on("data", (bytes) => {
        this.#said += bytes;
        if (this.doors.every((door) => this.#said.includes(`listening ${door} ${this.address(door)}`))) resolve();
      });
      this.ended.then(() => reject(new Error(`the gateway ended: ${this.#said}`)));
    }), "the gateway listens");
  }

  port(door) {
    return this.#ports[door];
  }

  /** Where it can be connected to: HOST:PORT. */
  address(door) {
    return `127.0.0.1:${this.port(door)}`;
  }

  async publish(channel, payload) {
    const url = `http://${this.address("admin")}/api/channels/${channel}`;
    const answer = await fetch(url, { method: "POST", body: String(payload) });
    if (answer.status !== 200) fail(`published: ${answer.status}`);
  }

  /** The sum of the counters whose rows contain all `parts`. */
  async count(...parts) {
    const text = await (await fetch(`http://${this.address("admin")}/metrics`)).text();
    const rows = text.split("\n").filter((row) => !row.startsWith("#") && parts.every((part) => row.includes(part)));
    return rows.reduce((sum, row) => sum + Number(row.split(" ").at(-1)), 0);
  }

  /** As a crash would. */
  async kill() {
    this.process.kill("SIGKILL");
    await within(this.ended, "the gateway dies");
  }

  /** For good. */
  async stop() {
    this.process.kill("SIGTERM");
    await within(this.ended, "the gateway ends");
    rmSync(this.folder, { recursive: true });
  }
}
