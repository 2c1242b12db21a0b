// A driver's app: says every second where it is, standing at red lights, and comes back when the connection is lost.
//
//     node examples/ride-location/driver.mjs [ws://127.0.0.1:8080] [DRIVER] [MILLISECONDS]

import WebSocket from "ws";

const [base = "ws://127.0.0.1:8080", driver = "42", pace = "1000"] = process.argv.slice(2);

/** Round the block: thirty metres at a time, and each corner has a light that is red for ten of them. */
function* drive() {
  const step = 0.0003;
  let [lat, lng] = [41.3874, 2.1686];
  for (;;) {
    for (const [north, east] of [[1, 0], [0, 1], [-1, 0], [0, -1]]) {
      for (let moved = 0; moved < 10; moved += 1) yield { lat: (lat += north * step), lng: (lng += east * step) };
      for (let waited = 0; waited < 10; waited += 1) yield { lat, lng };
    }
  }
}

const way = drive();
let socket;
let tries = 0;

function connect() {
  socket = new WebSocket(`${base}/ws/driver?driver=${encodeURIComponent(driver)}`);
  socket.on("open", () => (tries = 0));
  socket.on("error", () => {}); // "close" follows.
  socket.on("close", () => {
    // Later each time, and no two drivers at the same moment.
    setTimeout(connect, Math.random() * Math.min(30_000, 500 * 2 ** (tries += 1)));
  });
}

connect();
setInterval(() => {
  const position = way.next().value;
  // Where it was while it was cut off, nobody asks for any more.
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(position));
}, Number(pace));
