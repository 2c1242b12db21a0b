// A driver's app without its screen: is offered rides, and answers as it is told to. driver.html has the screen.
//
//     node examples/ride-acceptance/driver.mjs [ws://127.0.0.1:8080] [DRIVER] [takes | declines | waits | leaves]

import WebSocket from "ws";

const [base = "ws://127.0.0.1:8080", driver = "ann", manner = "takes"] = process.argv.slice(2);
const socket = new WebSocket(`${base}/ws/driver?driver=${encodeURIComponent(driver)}`);
const answers = { takes: { takes: true }, declines: { takes: false } };

socket.on("open", () => console.log(`${driver} is online`));
socket.on("close", () => process.exit());
socket.on("error", (error) => console.error(error.message));
socket.on("message", (bytes) => {
  const said = JSON.parse(bytes);
  if (said.tg === "question") {
    console.log(`offered ${said.data.ride}`);
    if (manner === "leaves") return socket.terminate(); // As in a tunnel.
    const data = answers[manner];
    if (data) socket.send(JSON.stringify({ tg: "answer", id: said.id, data }));
  } else if (said.tg === "over") {
    console.log("the offer is over"); // Answered on another device, or too late: whatever is pressed now does not count.
  } else if (said.yours) {
    console.log(`drives ${said.yours}`);
  }
});
