// A rider's app: orders a ride, hears how the search for a driver goes, and its result.
//
//     node examples/ride-acceptance/rider.mjs [http://127.0.0.1:8080] [RIDER] [FROM]

import { randomUUID } from "node:crypto";
import { EventSource } from "eventsource";

const [base = "http://127.0.0.1:8080", rider = "rita", from = "Plaça de Catalunya"] = process.argv.slice(2);
const stream = new EventSource(`${base}/riders/${encodeURIComponent(rider)}/events`);
stream.onerror = ({ message }) => stream.readyState === EventSource.CLOSED && console.error(`refused: ${message}`);
const early = new Map();
let ride;

stream.addEventListener("progress", ({ data }) => console.log(data));
stream.addEventListener("ride", ({ data }) => {
  // A ride that is fast may be through before its receipt is.
  const document = JSON.parse(data);
  early.set(document.id, data);
  tell();
});

function tell() {
  if (!early.has(ride)) return;
  console.log(early.get(ride));
  stream.close();
}

// The stream first: what is said from now on is not missed.
await new Promise((resolve) => stream.addEventListener("open", resolve, { once: true }));
const answer = await fetch(`${base}/rides`, {
  method: "POST",
  // The key is made before the first try: whatever happens on the way, one car comes.
  headers: { "Content-Type": "application/json", "X-Rider": rider, "Idempotency-Key": `"${randomUUID()}"` },
  body: JSON.stringify({ from }),
});
if (answer.status !== 202) throw new Error(`${answer.status} ${await answer.text()}`);
const receipt = await answer.json();
console.log(`accepted: ${receipt.location}`);
ride = receipt.id;
tell();
