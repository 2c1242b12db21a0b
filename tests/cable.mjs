// A cable between a client and the gateway, which can be pulled.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Cable {
  /** `address` is what it leads to, HOST:PORT. */
  constructor(address) {
    const [host, port] = address.split(":");
    this.pairs = new Set();
    this.server = createServer((near) => {
      if (this.isPulled) return near.destroy();
      const pair = { near, far: connect(Number(port), host) };
      this.pairs.add(pair);
      for (const socket of [near, pair.far]) {
        socket.on("error", () => {});
        socket.on("close", () => {
          this.pairs.delete(pair);
          near.destroy();
          pair.far.destroy();
        });
      }
      near.pipe(pair.far);
      pair.far.pipe(near);
    });
  }

  /** Its port on the client's side, which stays the same. */
  async plugIn() {
    this.isPulled = false;
    if (!this.server.listening) await once(this.server.listen(0, "127.0.0.1"), "listening");
    return this.server.address().port;
  }

  /** What the client says still arrives, and nothing comes back. */
  mute() {
    this.pairs.forEach(({ near, far }) => far.unpipe(near).resume());
  }

  pull() {
    this.isPulled = true;
    this.pairs.forEach(({ near, far }) => [near, far].forEach((socket) => socket.destroy()));
  }

  unplug() {
    this.pull();
    this.server.close();
  }
}
