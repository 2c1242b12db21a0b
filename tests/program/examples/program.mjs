// A program of an example, whose first line says that it is ready; and an example's gateway.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Gateway } from "../../gateway.mjs";
import { within } from "../../patience.mjs";

export class Program {
  constructor(...command) {
    this.command = command;
  }

  /** Its first line. */
  async start() {
    const [program, ...args] = this.command;
    this.process = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.ended = once(this.process, "exit");
    let said = "";
    const line = new Promise((resolve) => {
      this.process.stdout.on("data", (bytes) => {
        said += bytes;
        if (said.includes("\n")) resolve(said.split("\n")[0]);
      });
    });
    const isOver = this.ended.then(() => Promise.reject(new Error(`${program} ended without a word`)));
    return within(Promise.race([line, isOver]), `${this.command.join(" ")} is ready`);
  }

  /** As a crash would: it has no time for last words. */
  async kill() {
    this.process?.kill("SIGKILL");
    await this.ended?.catch(() => {});
  }
}

/** With the example's own configuration, which `environment` changes. */
export function exampleGateway(binary, example, environment = {}) {
  const configuration = readFileSync(`examples/${example}/tidegate.toml`, "utf8");
  return new Gateway(binary, configuration, ["http", "bus", "admin"], environment);
}
