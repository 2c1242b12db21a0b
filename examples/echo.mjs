// A worker that answers every message of the service "echo" with the same message.
//
//   node examples/echo.mjs [nats://127.0.0.1:4222]
//
// Any WebSocket route with `websocket = { service = "echo" }` leads here; several of these share the clients among them.

import { connect, headers } from "nats";

const servers = process.argv[2] ?? "nats://127.0.0.1:4222";
const bus = await connect({ servers });

// The queue group makes sure that each message goes to one worker.
const messages = bus.subscribe("tg.service.echo", { queue: "workers" });
await bus.flush();
console.log(`echo: working for ${servers}`);

for await (const message of messages) {
  // "open" and "close" come too; they have nothing to be echoed.
  if (message.headers?.get("Tg-Kind") !== "message") continue;
  // Text stays text and binary stays binary. The reply subject is the client's connection.
  const answer = headers();
  answer.set("Tg-Opcode", message.headers.get("Tg-Opcode") || "text");
  message.respond(message.data, { headers: answer });
}
