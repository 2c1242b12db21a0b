// The chat room: what anybody in the room sends comes to everybody, the sender included. Text only, never markup.

const SHOWN_MAX = 200;
const NAMES = ["Heron", "Otter", "Tern", "Puffin", "Seal", "Curlew", "Limpet", "Plover", "Gannet", "Eider"];

class ChatRoom {
  constructor(room, socketUrl, on) {
    this.id = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
    this.log = element("chat-log");
    this.text = element("chat-text");
    this.nameField = element("chat-name");
    this.nameField.value = sessionStorage.getItem("name") ?? NAMES[Math.floor(Math.random() * NAMES.length)];
    this.nameField.onchange = () => sessionStorage.setItem("name", this.nameField.value);
    element("room-name").textContent = room;
    element("second-tab").href = location.href;
    this.socket = new Socket(`room.${room}`, socketUrl, {
      message: (message, latency) => this.show(message, latency),
      state: (socket) => {
        element("chat-send").disabled = socket.state !== "live";
        on.state(socket);
      },
    });
    element("chat-form").onsubmit = (event) => {
      event.preventDefault();
      this.say();
    };
    this.socket.open();
  }

  // What could not be sent stays in the field.
  say() {
    const text = this.text.value.trim();
    const name = this.nameField.value.trim() || "somebody";
    if (text !== "" && this.socket.send({ from: this.id, name, text })) this.text.value = "";
  }

  show({ from, name, text }, latency) {
    if (typeof text !== "string") return;
    const line = document.createElement("li");
    line.className = from === this.id ? "mine" : "theirs";
    const by = Object.assign(document.createElement("p"), { className: "by" });
    const who = document.createElement("b");
    who.textContent = String(name ?? "somebody").slice(0, 24);
    by.append(who, latency === undefined ? "" : ` · ${milliseconds(latency)}`);
    const said = Object.assign(document.createElement("p"), { className: "said", textContent: text.slice(0, 500) });
    line.append(by, said);
    this.log.append(line);
    while (this.log.childElementCount > SHOWN_MAX) this.log.firstElementChild.remove();
    this.log.scrollTop = this.log.scrollHeight;
  }
}
