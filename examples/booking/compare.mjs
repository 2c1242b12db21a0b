// The same bookings by push and by polling every half second: requests, bytes, CPU, time until the result is seen.
//
//     node examples/booking/compare.mjs http://127.0.0.1:8080 [--passengers 50] [--bookings 4] [--gateway PID] [--json]
//
// With the gateway's process id its CPU is told as well.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Passenger, POLL_MS } from "./passenger.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    passengers: { type: "string", default: "50" },
    bookings: { type: "string", default: "4" },
    gateway: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const base = positionals[0] ?? "http://127.0.0.1:8080";
const [passengers, bookings] = [Number(values.passengers), Number(values.bookings)];

/** CPU of the gateway so far in ms; Linux counts it in hundredths of a second. */
function gatewayCpuMs() {
  if (!values.gateway) return null;
  const stat = readFileSync(`/proc/${values.gateway}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function one(passenger, way) {
  const seen = [];
  if (way === "push") await passenger.listen();
  for (let number = 0; number < bookings; number += 1) {
    const began = performance.now();
    const receipt = await passenger.book(`${1 + (number % 12)}A`);
    const accepted = performance.now();
    const document = await (way === "push" ? passenger.result(receipt) : passenger.poll(receipt));
    if (document.status !== "done") throw new Error(JSON.stringify(document));
    const late = performance.timeOrigin + performance.now() - document.result.finished_ms;
    seen.push({ accepted: accepted - began, result: performance.now() - began, late });
  }
  return seen;
}

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
const percentile = (numbers, share) => [...numbers].sort((a, b) => a - b)[Math.floor((numbers.length - 1) * share)];

async function measure(way) {
  const crowd = Array.from({ length: passengers }, (_, number) => new Passenger(base, `${way}${number}`));
  const [cpu, gateway] = [process.cpuUsage(), gatewayCpuMs()];
  const seen = (await Promise.all(crowd.map((passenger) => one(passenger, way)))).flat();
  const spent = process.cpuUsage(cpu);
  const row = {
    way: way === "push" ? "push" : `polling every ${POLL_MS} ms`,
    requests_per_booking: crowd.reduce((sum, passenger) => sum + passenger.requests, 0) / seen.length,
    bytes_per_booking: crowd.reduce((sum, passenger) => sum + passenger.bytes, 0) / seen.length,
    client_cpu_ms_per_booking: (spent.user + spent.system) / 1000 / seen.length,
    gateway_cpu_ms_per_booking: gateway === null ? null : (gatewayCpuMs() - gateway) / seen.length,
    accepted_ms_p99: percentile(seen.map((one) => one.accepted), 0.99),
    result_ms_mean: mean(seen.map((one) => one.result)),
    late_ms_mean: mean(seen.map((one) => one.late)),
    late_ms_p99: percentile(seen.map((one) => one.late), 0.99),
    bookings: seen.length,
  };
  crowd.forEach((passenger) => passenger.close());
  return row;
}

const rows = [await measure("push"), await measure("polling")];
if (values.json) {
  console.log(JSON.stringify(rows));
} else {
  const columns = [
    ["requests", "requests_per_booking", 1],
    ["bytes", "bytes_per_booking", 0],
    ["client CPU ms", "client_cpu_ms_per_booking", 2],
    ["gateway CPU ms", "gateway_cpu_ms_per_booking", 2],
    ["202 after ms, p99", "accepted_ms_p99", 1],
    ["result seen after ms, mean", "result_ms_mean", 0],
    ["seen later than made, ms, mean", "late_ms_mean", 1],
    ["p99", "late_ms_p99", 1],
  ];
  console.log(`| per booking | ${columns.map(([name]) => name).join(" | ")} |`);
  console.log(`|---|${columns.map(() => "--:|").join("")}`);
  for (const row of rows) {
    const cells = columns.map(([, key, digits]) => (row[key] === null ? "" : row[key].toFixed(digits)));
    console.log(`| ${row.way} | ${cells.join(" | ")} |`);
  }
}
