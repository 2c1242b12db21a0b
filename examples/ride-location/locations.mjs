// The worker: takes positions from drivers' apps, and publishes to each driver's channel where that driver is.
//
//     node examples/ride-location/locations.mjs [nats://127.0.0.1:4222]
//
// It remembers nothing, so several of these share the drivers, and each may be restarted at any time.

import { connect, headers } from "nats";

// A cell of the grid is a thousandth of a degree: about a hundred metres from south to north.
const CELLS_PER_DEGREE = 1000;

function read(message) {
  try {
    const { lat, lng } = message.json();
    return Number.isFinite(lat) && Number.isFinite(lng) ? { lat, lng } : null;
  } catch {
    return null; // What an app says may be anything.
  }
}

const cell = ({ lat, lng }) => `${Math.floor(lat * CELLS_PER_DEGREE)}:${Math.floor(lng * CELLS_PER_DEGREE)}`;

const servers = process.argv[2] ?? "nats://127.0.0.1:4222";
const bus = await connect({ servers });
const messages = bus.subscribe("tg.service.locations", { queue: "workers" });
await bus.flush();
console.log(`locations: working for ${servers}`);

for await (const message of messages) {
  // "open" and "close" come too.
  const position = message.headers?.get("Tg-Kind") === "message" ? read(message) : null;
  if (!position) continue;
  const about = headers();
  about.set("Tg-Event", "location");
  // Who follows the driver is told when this is another than the last one: the gateway compares.
  about.set("Tg-Distinct", cell(position));
  bus.publish(`driver.location.${message.headers.get("Tg-User")}`, JSON.stringify(position), { headers: about });
}
