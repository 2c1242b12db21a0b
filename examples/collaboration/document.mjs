// A document that several people edit, over Centrifugo's client (npm `centrifuge`): in a page or in Node.
//
//   confirmed: what the worker has put in order --.
//                                                 |--> cells: what is shown
//   pending: what was typed and is not confirmed -'
//
// An edit gets an id where it is made, and is said until the worker has answered: it may be said twice, and is done once.
// Each cell keeps the edit with the highest version, so it does not matter in which order answers, publications and the
// document as a whole come in.

const RETRY_MS = 1000;

/** Tells `change` (cells or pending edits are others), `people`, and `refused` (an edit that the worker will not take). */
export class SharedDocument extends EventTarget {
  /** How often the document as a whole has come: once, unless more was missed than the gateway keeps. */
  loads = 0;
  #people = new Set();
  #client;
  #name;
  #subscription;
  #storage;
  #confirmed = new Map();
  #pending;
  #isLoaded = false;
  #isSaying = false;
  #retry;

  /** `storage` (a page's sessionStorage) keeps what was typed until it is confirmed, even if the page is loaded again. */
  constructor(client, name, storage = null) {
    super();
    this.#client = client;
    this.#name = name;
    this.#storage = storage;
    this.#pending = JSON.parse(storage?.getItem(this.#key) ?? "[]");
    this.#subscription = client.newSubscription(`document.${name}`, { joinLeave: true });
    this.#subscription.on("publication", ({ data }) => this.#confirm([data]));
    this.#subscription.on("subscribed", ({ wasRecovering, recovered }) => this.#begin(wasRecovering && recovered));
    this.#subscription.on("join", ({ info }) => this.#setPeople(this.#people.add(info.user)));
    this.#subscription.on("leave", ({ info }) => this.#setPeople([...this.#people].filter((name) => name !== info.user)));
    this.#subscription.subscribe();
  }

  /** Names of those who are there. */
  get people() {
    return [...this.#people].sort();
  }

  get version() {
    return Math.max(0, ...[...this.#confirmed.values()].map((edit) => edit.version));
  }

  get pending() {
    return this.#pending.length;
  }

  /** Cell by cell, what is shown. */
  get cells() {
    const edits = [...this.#confirmed.values(), ...this.#pending];
    return Object.fromEntries(edits.map(({ cell, value }) => [cell, value]));
  }

  edit(cell, value) {
    this.#setPending([...this.#pending, { document: this.#name, id: crypto.randomUUID(), cell, value }]);
    this.#say();
  }

  close() {
    clearTimeout(this.#retry);
    this.#subscription.unsubscribe();
  }

  get #key() {
    return `pending edits of ${this.#name}`;
  }

  #setPending(pending) {
    this.#pending = pending;
    this.#storage?.setItem(this.#key, JSON.stringify(pending));
    this.dispatchEvent(new Event("change"));
  }

  #drop(ids) {
    const others = this.#pending.filter((edit) => !ids.includes(edit.id));
    if (others.length < this.#pending.length) this.#setPending(others);
  }

  #confirm(edits) {
    for (const edit of edits) {
      if (edit.version > (this.#confirmed.get(edit.cell)?.version ?? 0)) this.#confirmed.set(edit.cell, edit);
    }
    this.#drop(edits.map((edit) => edit.id));
    this.dispatchEvent(new Event("change"));
  }

  #setPeople(names) {
    this.#people = new Set(names);
    this.dispatchEvent(new Event("people"));
  }

  /** Joins and leaves are told from now on, so a list that is asked for now misses none. */
  async #lookAround() {
    try {
      const { clients } = await this.#subscription.presence();
      this.#setPeople(Object.values(clients).map(({ user }) => user));
    } catch {
      // The connection is gone again: it looks around when it is back.
    }
  }

  /** The subscription is in force, for the first time or again. If it was recovered, what was missed follows by itself. */
  #begin(wasRecovered) {
    this.#isLoaded &&= wasRecovered;
    this.#lookAround();
    this.#say();
  }

  /** Says what is pending, in the order in which it was made; asks for the whole document first if it has none. */
  async #say() {
    if (this.#isSaying || this.#subscription.state !== "subscribed") return;
    this.#isSaying = true;
    clearTimeout(this.#retry);
    try {
      for (;;) {
        if (!this.#isLoaded) await this.#load();
        else if (this.#pending.length > 0) await this.#sayFirst();
        else break;
      }
    } catch {
      // The connection is gone, or there is no worker just now: it is said again.
      this.#retry = setTimeout(() => this.#say(), RETRY_MS);
    } finally {
      this.#isSaying = false;
    }
  }

  async #load() {
    // At once, because whoever has to subscribe anew meanwhile has to load anew.
    this.#isLoaded = true;
    try {
      const { data } = await this.#client.rpc("open", { document: this.#name });
      this.loads += 1;
      this.#confirm(data.cells);
    } catch (error) {
      this.#isLoaded = false;
      throw error;
    }
  }

  async #sayFirst() {
    const edit = this.#pending[0];
    try {
      const { data } = await this.#client.rpc("edit", edit);
      this.#confirm([data]);
    } catch (error) {
      // Up to 399 are the gateway's and the package's: that passes. The others are the worker's word.
      if (!(error.code >= 400)) throw error;
      this.#drop([edit.id]);
      this.dispatchEvent(Object.assign(new Event("refused"), { edit, error }));
    }
  }
}
