/**
 * What the connection went through, counted and told in the journal.
 */

import type { Begin, End, Gap, OdinError, State } from "@odin/client";
import { count, words } from "./format.ts";
import type { Journal, Weight } from "./model/journal.ts";
import { type Status, TRANSPORTS } from "./model/status.ts";

/** Counts and tells. */
export class Chronicle {
  /** Announced losses. */
  gaps = 0;
  /** Subscriptions that went on where they were. */
  resumes = 0;
  /** Subscriptions that could not. */
  anew = 0;
  /** Connections after the first one of each client. */
  reconnects = 0;
  readonly #journal: Journal;
  readonly #told: () => void;
  #connections = 0;
  #connectedAs = "";
  #unreadable = 0;

  /** @param told - is called when the journal has another entry */
  constructor(journal: Journal, told: () => void) {
    this.#journal = journal;
    this.#told = told;
  }

  /** A new client begins: its first connection is no reconnect. */
  begin(): void {
    this.#connections = 0;
  }

  /** The connection is in another state, or the page says something else about it. */
  state(state: State | null, status: Status, before: Status): void {
    if (state?.status === "connected" || state?.status === "fallback") {
      const name = `${state.connectionId} ${state.transport} ${state.since}`;
      if (name !== this.#connectedAs) {
        this.#connectedAs = name;
        this.#connections += 1;
        if (this.#connections > 1) this.reconnects += 1;
        this.tell("good", `connected by ${TRANSPORTS[state.transport]}`);
      }
    }
    if (status.title === before.title && status.tone === before.tone) return;
    if (status.tone === "stale") {
      this.tell("warn", `stale: ${status.detail}`);
    } else if (state?.status === "reconnecting") {
      const lost = before.title === "Connecting" ? "no connection" : "connection lost";
      const known = state.reason === "" || state.reason === "connection lost";
      this.tell("warn", known ? lost : `${lost}: ${state.reason}`);
    } else if (state === null) {
      this.tell("info", "disconnected");
    } else if (status.tone === "off") {
      this.tell("bad", `${status.title.toLowerCase()}: ${status.detail}`);
    } else if (status.fresh && before.tone === "stale") {
      this.tell("good", "values are fresh again");
    }
  }

  /** Publications were left out. */
  gap(gap: Gap): void {
    this.gaps += 1;
    this.tell("bad", `gap in ${gap.channel}: ${count(gap.until - gap.after)} numbers were left out, ${words(gap.reason)}`);
  }

  /** A subscription goes on after a new connection, or begins anew. */
  resume(begin: Begin): void {
    if (begin.recovered) {
      this.resumes += 1;
      return;
    }
    // the last values again, where there was no position yet to go on from: nothing is missing
    if (begin.reason === undefined && begin.mode === "latest") return;
    this.anew += 1;
    const why = begin.reason === undefined ? "" : `: ${words(begin.reason)}`;
    this.tell("warn", `${begin.channel} begins anew${why}`);
  }

  /** A subscription has ended. */
  end(end: End): void {
    if (end.error === undefined) return;
    // a gateway with other rules: the page has less to show, and nothing is wrong
    if (end.error.code === "unknown_channel") this.tell("info", `${end.channel} is not offered here`);
    else this.tell("bad", `${end.channel} has ended: ${end.error.message}`);
  }

  /** Something was refused. A channel that is refused for good also ends, and is told then. */
  error(error: OdinError): void {
    if (error.channel !== undefined && error.retryInMs === undefined) return;
    const about = error.channel === undefined ? "" : `${error.channel}: `;
    this.tell("warn", `${about}${error.message} (${error.code})`);
  }

  /** So many updates had no usable price until now. */
  unreadable(updates: number): void {
    if (updates > this.#unreadable) {
      this.tell("bad", `${count(updates - this.#unreadable)} updates without a usable price`);
    }
    this.#unreadable = updates;
  }

  /** Adds an entry. */
  tell(weight: Weight, line: string): void {
    this.#journal.add(weight, line, Date.now());
    this.#told();
  }
}
