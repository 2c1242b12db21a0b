// Connections that come back: a Stream (EventSource) and a Socket (WebSocket), their state, and the latency of messages.
//
//   connecting --> live --> waiting (n s, longer each time, with jitter) --> connecting
//                                 off: closed on purpose

const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 15_000;
const SAMPLES_MAX = 240;

// Wall-clock milliseconds with a fraction. Date.now() drops the fraction and performance.now() counts from elsewhere; the
// largest difference seen lately is the distance between the two, and a clock that was set is followed after 64 calls.
const clockGaps = [];
function wallClock() {
  clockGaps.push(Date.now() - performance.now());
  if (clockGaps.length > 64) clockGaps.shift();
  return performance.now() + Math.max(...clockGaps);
}

// The delay before try number n + 1: it doubles, and is spread so that a thousand pages do not return at once.
function backoff(tries) {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** tries) * (0.5 + Math.random() / 2);
}

// What is no JSON object, such as a word published with curl, is a text.
function parsed(text) {
  try {
    const message = JSON.parse(text);
    if (message !== null && typeof message === "object") return message;
  } catch {
    // It is told as it stands.
  }
  return { text };
}

// What streams and sockets share: `on` is told of every message and every change of state.
class Connection {
  constructor(kind, name, url, on) {
    Object.assign(this, { kind, name, url, on });
    this.state = "off";
    this.messages = 0;
    this.tries = 0;
    this.samples = [];
    this.retryAt = 0;
  }

  set(state) {
    this.state = state;
    if (state === "live") this.tries = 0;
    this.on.state?.(this);
  }

  // Counts a message; its latency is known when the sender wrote the time into it.
  received(text) {
    this.messages += 1;
    const message = parsed(text);
    const latency = Number.isFinite(message.at_ms) ? Math.max(0, wallClock() - message.at_ms) : undefined;
    if (latency !== undefined) {
      this.samples.push(latency);
      if (this.samples.length > SAMPLES_MAX) this.samples.shift();
    }
    this.on.message?.(message, latency, this);
  }

  // Tries again later; meanwhile the page counts down to `retryAt`.
  retry() {
    const delay = backoff(this.tries++);
    this.retryAt = Date.now() + delay;
    this.timer = setTimeout(() => this.open(), delay);
    this.set("waiting");
  }

  percentile(share) {
    if (this.samples.length === 0) return undefined;
    const sorted = [...this.samples].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  }
}

class Stream extends Connection {
  constructor(name, url, on) {
    super("SSE", name, url, on);
  }

  open() {
    this.set("connecting");
    const source = new EventSource(this.url);
    this.source = source;
    source.onopen = () => this.set("live");
    source.addEventListener("location", (event) => {
      this.on.raw?.(event.data, this);
      this.received(event.data);
    });
    source.onerror = () => {
      if (this.source !== source) return;
      // The browser reconnects by itself and sends Last-Event-ID, unless the answer was not an event stream.
      if (source.readyState !== EventSource.CLOSED) {
        this.retryAt = 0;
        this.set("waiting");
      } else {
        this.retry();
      }
    };
  }
}

class Socket extends Connection {
  constructor(name, url, on) {
    super("WS", name, url, on);
  }

  open() {
    this.set("connecting");
    const socket = new WebSocket(this.url);
    this.socket = socket;
    // Each handler looks whether it still belongs to the socket in use: `close` may have replaced it.
    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.set("live");
      this.on.open?.(this);
    };
    socket.onmessage = (event) => this.socket === socket && this.received(event.data);
    socket.onclose = () => this.socket === socket && this.retry();
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = undefined;
    socket?.close();
    this.set("off");
  }

  send(message) {
    if (this.state !== "live") return false;
    this.socket.send(JSON.stringify({ ...message, at_ms: wallClock() }));
    return true;
  }
}

// The drivers' streams, opened by one tab for all tabs of this browser: over HTTP/1.1 a browser opens at most six
// connections per host, and a second tab with four streams of its own would starve. The tab that gets the lock opens
// them and repeats what it hears; when it is closed, the next one gets the lock and opens its own.
class SharedStreams {
  constructor(streams) {
    this.streams = streams;
    this.channel = new BroadcastChannel("tidegate-demo");
    this.isLeader = false;
    this.channel.onmessage = (event) => this.heard(event.data);
    for (const stream of streams) {
      const tell = stream.on.state;
      stream.on.state = (which) => {
        tell?.(which);
        if (this.isLeader) this.say(which);
      };
      stream.on.raw = (text) => this.channel.postMessage({ name: stream.name, text });
    }
    if (navigator.locks) {
      this.channel.postMessage({ ask: true });
      navigator.locks.request("tidegate-demo", () => {
        this.lead();
        return new Promise(() => {});
      });
    } else {
      this.lead();
    }
  }

  lead() {
    this.isLeader = true;
    for (const stream of this.streams) stream.open();
  }

  say(stream) {
    this.channel.postMessage({ name: stream.name, state: stream.state, retryAt: stream.retryAt });
  }

  heard({ ask, name, text, state, retryAt }) {
    if (ask && this.isLeader) this.streams.forEach((stream) => this.say(stream));
    const stream = this.streams.find((stream) => stream.name === name);
    if (!stream || this.isLeader) return;
    if (state !== undefined) {
      stream.retryAt = retryAt;
      stream.set(state);
    }
    if (text !== undefined) stream.received(text);
  }
}
