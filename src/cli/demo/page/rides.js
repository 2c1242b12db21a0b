// A ride, seen from both ends: the rider's app asks, the driver's app is offered the ride. Each has its own WebSocket.

class RiderApp {
  constructor(map, socketUrl, on) {
    this.map = map;
    this.button = element("request");
    this.status = element("rider-status");
    // A ride looks for a driver; it has been cancelled, and the matching has not said yet whether in time.
    this.isOpen = this.isLeaving = false;
    const user = `rider-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    this.socket = new Socket("rides.rider", socketUrl(user), {
      open: (socket) => socket.send({ type: "hello" }),
      message: (message) => this.heard(message),
      state: (socket) => {
        // The request was lost with the connection: the matching forgets a rider who leaves.
        if (socket.state !== "live" && this.isOpen) this.over("Connection lost; please ask again.", "bad");
        this.refresh();
        on.state(socket);
      },
    });
    this.button.onclick = () => (this.isOpen ? this.cancel() : this.request());
    this.setPickup(map.crossing(4, 2));
    map.canvas.addEventListener("click", (event) => {
      if (this.isOpen) return;
      this.setPickup(map.crossingAt(event.offsetX, event.offsetY));
      element("map-hint").hidden = true;
    });
    this.socket.open();
  }

  setPickup(pickup) {
    this.pickup = pickup;
    this.map.pickup = pickup;
    this.map.assigned = undefined;
    element("pickup-name").textContent = pickup.name;
  }

  request() {
    this.map.assigned = undefined;
    if (!this.socket.send({ type: "request", pickup: this.pickup })) return;
    this.isOpen = true;
    this.say("Looking for a driver …", "busy");
    this.refresh();
  }

  // A driver may be accepting just now: what became of the ride is said by the matching alone.
  cancel() {
    if (!this.socket.send({ type: "cancel" })) return;
    this.isLeaving = true;
    this.say("Cancelling …", "busy");
    this.refresh();
  }

  heard(message) {
    if (message.type === "asking") {
      if (!this.isLeaving) this.say(`Asking ${message.name} …`, "busy");
    } else if (message.type === "assigned") {
      this.map.assigned = message.driver;
      const away = this.map.distance(message.driver, this.pickup);
      this.over(`${message.name} is coming${away === undefined ? "" : `, ${metres(away)} away`}.`, "good");
    } else if (message.type === "expired") {
      this.over(message.asked === 0 ? "No driver is free. Try again?" : "No driver took the ride. Try again?", "bad");
    } else if (message.type === "cancelled") {
      this.over("Cancelled.", "idle");
    } else if (message.type === "refused") {
      this.over(`Not possible: ${message.words}.`, "bad");
    }
  }

  over(words, state) {
    this.isOpen = this.isLeaving = false;
    this.say(words, state);
    this.refresh();
  }

  say(words, state) {
    this.status.textContent = words;
    this.status.dataset.state = state;
  }

  refresh() {
    this.button.disabled = this.socket?.state !== "live" || this.isLeaving;
    this.button.textContent = this.isOpen ? "Cancel" : "Request a ride";
    this.button.className = this.isOpen ? "quiet" : "primary";
  }
}

class DriverApp {
  constructor(map, drivers, socketUrl, on) {
    Object.assign(this, { map, socketUrl, on });
    this.status = element("driver-status");
    this.offer = undefined;
    this.socket = new Socket("rides.driver", "", {
      open: (socket) => socket.send({ type: "hello" }),
      message: (message) => this.heard(message),
      state: (socket) => {
        if (socket.state !== "live") this.over(socket.state === "off" ? "Off duty: no offers." : "Connecting …", "idle");
        else this.over("On duty, waiting for rides.", "idle");
        on.state(socket);
      },
    });
    element("accept").onclick = () => this.answer("accept");
    element("decline").onclick = () => this.answer("decline");
    this.choices(drivers);
  }

  choices(drivers) {
    const choose = (id, name, colour, isChecked) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "drive-as", value: id, checked: isChecked });
      const span = Object.assign(document.createElement("span"), { textContent: name });
      if (colour) span.style.setProperty("--car", `var(--${colour})`);
      input.onchange = () => this.driveAs(id, name);
      label.append(input, span);
      element("drive-as").append(label);
    };
    drivers.forEach(({ id, name, colour }, index) => choose(id, name, colour, index === 0));
    choose("", "Off", undefined, false);
    this.driveAs(drivers[0].id, drivers[0].name);
  }

  driveAs(id, name) {
    this.id = id;
    this.name = name;
    this.socket.close();
    if (id === "") return;
    this.socket.url = this.socketUrl(id);
    this.socket.open();
  }

  heard(message) {
    if (message.type === "offer") {
      if (message.ride === this.offer?.ride) return;
      this.offer = { ...message, until: performance.now() + message.expires_in_ms };
      const away = this.map.distance(this.id, message.pickup);
      element("offer-place").textContent = message.pickup.name;
      element("offer-way").textContent = away === undefined ? "a new ride" : `${metres(away)} from you`;
      this.refresh();
      this.countDown();
      return;
    }
    // What is said of another ride, or of one that is over here, is an answer that crossed another one.
    if (message.ride !== this.offer?.ride) return;
    if (message.type === "assigned") this.over(`Yours. Go to ${message.pickup.name}.`, "good");
    if (message.type === "declined") this.over("You have declined the ride.", "idle");
    if (message.type === "expired") this.over("You did not answer in time.", "bad");
    if (message.type === "withdrawn") this.over("The rider has cancelled.", "bad");
  }

  answer(type) {
    if (this.offer) this.socket.send({ type, ride: this.offer.ride });
  }

  // The ring runs out by itself; that the offer is over is said by the matching alone.
  countDown() {
    if (!this.offer) return;
    const left = Math.max(0, this.offer.until - performance.now());
    element("ring").style.strokeDashoffset = 100 - (100 * left) / this.offer.expires_in_ms;
    element("ring-seconds").textContent = Math.ceil(left / 1_000);
    requestAnimationFrame(() => this.countDown());
  }

  over(words, state) {
    this.offer = undefined;
    this.status.textContent = words;
    this.status.dataset.state = state;
    this.refresh();
  }

  refresh() {
    element("offer").hidden = !this.offer;
    element("countdown").toggleAttribute("hidden", !this.offer);
    this.status.hidden = Boolean(this.offer);
    element("accept").disabled = element("decline").disabled = !this.offer;
  }
}

function metres(distance) {
  return distance < 950 ? `${Math.round(distance / 10) * 10} m` : `${(distance / 1_000).toFixed(1)} km`;
}
