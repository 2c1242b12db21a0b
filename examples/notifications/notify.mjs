// An application that has something to say to a user, some times.
//
//     node examples/notifications/notify.mjs [http://127.0.0.1:8080] [USER] [TEXT] [TIMES]

import { randomUUID } from "node:crypto";
import { ofApplication } from "./login.mjs";

const [base = "http://127.0.0.1:8080", user = "ann", text = "Your order is on its way", times = "1"] = process.argv.slice(2);

async function post(notification) {
  // The key is made before the first try: sent again, it is still the same notification.
  const key = `"${randomUUID()}"`;
  for (let tries = 1; ; tries += 1) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key, Authorization: `Bearer ${ofApplication()}` };
    const request = { method: "POST", headers, body: JSON.stringify(notification) };
    const answer = await fetch(`${base}/notifications`, request).catch(() => null);
    if (answer?.status === 202) return answer.json();
    const mayPass = !answer || answer.status >= 500 || answer.status === 429;
    if (!mayPass) throw new Error(`${answer.status} ${await answer.text()}`);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(30_000, 200 * 2 ** tries)));
  }
}

for (let time = 1; time <= Number(times); time += 1) {
  const { location } = await post({ user, text: times === "1" ? text : `${text} (${time})` });
  console.log(`accepted: ${location}`);
}
