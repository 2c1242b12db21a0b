// A passenger who books: with a stream on which the results come, or asking every half second.
//
//     node examples/booking/passenger.mjs http://127.0.0.1:8080 ann 12A
//
// Without a library, to show all that happens; in a page, EventSource does what `listen` does.

import { randomUUID } from "node:crypto";
import http from "node:http";

export const POLL_MS = 500;

export class Passenger {
  /** `name` is believed by this example's gateway; a real one stands behind something that checks it. */
  constructor(base, name) {
    this.base = new URL(base);
    this.name = name;
    this.requests = 0;
    this.sockets = new Set();
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    this.waiting = new Map();
    this.early = new Map();
  }

  /** Bytes of HTTP, both ways. */
  get bytes() {
    let sum = 0;
    for (const socket of this.sockets) sum += socket.bytesRead + socket.bytesWritten;
    return sum;
  }

  /** Posts a booking; the receipt, as soon as the gateway has it. */
  async book(seat) {
    // The key is made before the first try: whatever happens on the way, the seat is booked once.
    const headers = { "Content-Type": "application/json", "Idempotency-Key": `"${randomUUID()}"` };
    const answer = await this.#ask("POST", "/bookings", headers, JSON.stringify({ seat }));
    if (answer.status !== 202) throw new Error(`booking ${seat}: ${answer.status} ${answer.body}`);
    return JSON.parse(answer.body);
  }

  /** Opens the passenger's stream; resolves when it is in force, and nothing can be missed. */
  listen() {
    return new Promise((resolve, reject) => {
      this.requests += 1;
      const path = `/passengers/${this.name}/events`;
      const options = { agent: false, headers: { Accept: "text/event-stream" } };
      this.stream = http.get(new URL(path, this.base), options, (response) => {
        if (response.statusCode !== 200) return reject(new Error(`${path}: ${response.statusCode}`));
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => {
          const records = (text + chunk).split("\n\n");
          text = records.pop();
          records.forEach((record) => this.#hear(record));
        });
        response.on("error", () => {});
        resolve();
      });
      this.stream.on("socket", (socket) => this.sockets.add(socket)).on("error", reject);
    });
  }

  /** The result of a booking, from the stream. */
  result(receipt) {
    const early = this.early.get(receipt.id);
    if (early) return Promise.resolve(early);
    return new Promise((resolve) => this.waiting.set(receipt.id, resolve));
  }

  /** The same by polling. */
  async poll(receipt) {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      const answer = await this.#ask("GET", receipt.location, {}, "");
      const document = JSON.parse(answer.body);
      if (document.status !== "pending") return document;
    }
  }

  close() {
    this.stream?.destroy();
    this.agent.destroy();
  }

  #hear(record) {
    const lines = record.split("\n");
    if (!lines.includes("event: booking")) return;
    const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
    const document = JSON.parse(data.join("\n"));
    // A booking that is fast may be through before its receipt is.
    const resolve = this.waiting.get(document.id);
    if (resolve) resolve(document);
    else this.early.set(document.id, document);
  }

  #ask(method, path, headers, body) {
    this.requests += 1;
    return new Promise((resolve, reject) => {
      const options = { agent: this.agent, method, headers: { "X-Passenger": this.name, ...headers } };
      const request = http.request(new URL(path, this.base), options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode, body: text })).on("error", reject);
      });
      request.on("socket", (socket) => this.sockets.add(socket)).on("error", reject);
      request.end(body);
    });
  }
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const [base, name, seat] = process.argv.slice(2);
  const passenger = new Passenger(base, name);
  await passenger.listen();
  const receipt = await passenger.book(seat);
  console.log(`accepted: ${receipt.location}`);
  console.log(JSON.stringify(await passenger.result(receipt)));
  passenger.close();
}
