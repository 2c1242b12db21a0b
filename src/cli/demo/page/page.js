// The page: opens every connection, and shows the state and the latency of each.

function element(id) {
  return document.getElementById(id);
}

function milliseconds(value) {
  if (value === undefined) return "–";
  return value < 10 ? `${value.toFixed(1)} ms` : value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`;
}

// One row for each connection: state, last, median and p99, and a line of the latest messages.
class Row {
  constructor(connection, label, colour) {
    this.connection = connection;
    this.node = document.createElement("li");
    this.node.dataset.connection = connection.name;
    this.node.innerHTML = `<p class="link-name"><span></span><small></small></p><p class="link-last"></p><p class="link-note"></p>
      <svg class="link-spark" viewBox="0 0 64 16" preserveAspectRatio="none" aria-hidden="true"><polyline/></svg>`;
    const part = (selector) => this.node.querySelector(selector);
    part("span").textContent = label;
    part("small").textContent = connection.kind;
    if (colour) part(".link-spark").style.stroke = `var(--${colour})`;
    Object.assign(this, { last: part(".link-last"), note: part(".link-note"), spark: part("polyline") });
    element("links").append(this.node);
  }

  refresh() {
    const { state, samples, messages, retryAt } = this.connection;
    const latest = samples[samples.length - 1];
    Object.assign(this.node.dataset, { state, messages, latency: latest?.toFixed(2) ?? "" });
    this.last.textContent = state === "live" ? milliseconds(latest) : "";
    this.note.textContent = state === "live" ? this.numbers() : stateWords(state, retryAt);
    // The line is scaled to its own largest value, but never below 2 ms, so that nothing looks like a storm.
    const shown = samples.slice(-40);
    const top = Math.max(2, ...shown);
    this.spark.setAttribute("points", shown.map((value, index) => `${(index * 64) / 39},${15 - (14 * value) / top}`).join(" "));
  }

  numbers() {
    if (this.connection.samples.length === 0) return "no message yet";
    const [median, p99] = [0.5, 0.99].map((share) => milliseconds(this.connection.percentile(share)));
    return `p50 ${median.replace(" ms", "")}, p99 ${p99}`;
  }
}

function stateWords(state, retryAt) {
  if (state === "connecting") return "connecting …";
  if (state === "off") return "off duty";
  const seconds = Math.ceil((retryAt - Date.now()) / 1_000);
  return seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting …";
}

class Totals {
  constructor(connections) {
    this.connections = connections;
    this.counts = [];
  }

  refresh() {
    const wanted = this.connections.filter(({ state }) => state !== "off");
    const live = wanted.filter(({ state }) => state === "live").length;
    const overall = element("overall");
    overall.dataset.state = live === wanted.length ? "live" : live === 0 ? "waiting" : "connecting";
    const words = live === wanted.length ? `${live} connections live` : `${live} of ${wanted.length} live`;
    if (overall.textContent !== words) overall.textContent = words;

    const now = performance.now();
    this.counts.push({ now, count: this.connections.reduce((sum, { messages }) => sum + messages, 0) });
    while (now - this.counts[0].now > 3_000) this.counts.shift();
    const first = this.counts[0];
    const latest = this.counts[this.counts.length - 1];
    const rate = latest.now > first.now ? ((latest.count - first.count) * 1_000) / (latest.now - first.now) : 0;
    element("total-rate").textContent = `${Math.round(rate)}/s`;
    const samples = this.connections.flatMap((connection) => connection.samples).sort((a, b) => a - b);
    element("total-median").textContent = milliseconds(samples[Math.floor(samples.length / 2)]);
    element("total-p99").textContent = milliseconds(samples[Math.min(samples.length - 1, Math.floor(samples.length * 0.99))]);
  }
}

function showCommands({ admin, bus, program }, room) {
  const publish = JSON.stringify({ name: "curl", text: "hello from a terminal" });
  const insecure = location.protocol === "https:" ? "-k " : "";
  const commands = [
    ["Follow a driver", `curl -N ${insecure}${location.origin}/api/sse/drivers/42/location`],
    ["Write into the chat", `curl -d '${publish}' http://${admin}/api/channels/room.${room}`],
    ["See everything that flows", `${program} sub nats://${bus} '>'`],
  ];
  for (const [what, command] of commands) {
    element("commands").append(
      Object.assign(document.createElement("dt"), { textContent: what }),
      Object.assign(document.createElement("dd"), { textContent: command }),
    );
  }
}

function start() {
  const demo = JSON.parse(element("demo").textContent);
  const socketOrigin = location.origin.replace(/^http/, "ws");
  const room = (new URLSearchParams(location.search).get("room") ?? "lobby").replace(/[^\w-]/g, "") || "lobby";
  const drivers = demo.city.drivers.map((driver, index) => ({ ...driver, colour: `car-${index}` }));
  const map = new CityMap(element("map"), demo.city);
  const rows = [];
  let isStale = true;
  const on = { state: () => (isStale = true) };

  const streams = drivers.map(({ id, name, colour }) => {
    const stream = new Stream(`driver.location.${id}`, `/api/sse/drivers/${id}/location`, {
      state: ({ state }) => {
        map.setLive(id, state === "live");
        on.state();
      },
      message: (message) => {
        if (!Number.isFinite(message.lat) || !Number.isFinite(message.lng)) return;
        map.move(id, name, colour, message);
        Object.assign(row.node.dataset, { lat: message.lat, lng: message.lng });
      },
    });
    const row = new Row(stream, name, colour);
    rows.push(row);
    return stream;
  });
  new SharedStreams(streams);
  const rides = (user) => `${socketOrigin}/ws/rides?driver=${encodeURIComponent(user)}`;
  const rider = new RiderApp(map, rides, on);
  const driver = new DriverApp(map, drivers, rides, on);
  const chat = new ChatRoom(room, `${socketOrigin}/ws/rooms/${room}`, on);
  rows.push(new Row(rider.socket, "Rider's app"), new Row(driver.socket, "Driver's app"), new Row(chat.socket, "Chat room"));
  showCommands(demo, room);

  const totals = new Totals(rows.map(({ connection }) => connection));
  const refresh = () => {
    rows.forEach((row) => row.refresh());
    totals.refresh();
    isStale = false;
  };
  setInterval(refresh, 500);
  // A change of state is shown with the next frame, numbers twice a second.
  const frame = () => {
    if (isStale) refresh();
    requestAnimationFrame(frame);
  };
  frame();
}

start();
