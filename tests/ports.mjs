// Ports of loopback for programs that are told theirs, or that start again on the same.

import { createServer } from "node:net";

// Below the ports that the kernel gives to connections: one of those could take the place of a program that starts again.
const FIRST = 10_000;
const COUNT = 20_000;

/** One that was free a moment ago. */
export async function freePort() {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    const isFree = await new Promise((resolve) => {
      const server = createServer().once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
