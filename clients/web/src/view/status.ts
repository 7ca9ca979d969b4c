/**
 * The state of the connection, where it cannot be overlooked: the bar on top, the title and icon of the browser's tab, and
 * whether values are shown as fresh. Changes are read out, the count-down is not.
 */

import type { Connection } from "@odin/client";
import { byId, setAttribute, setIcon, text } from "../dom.ts";
import { age, count } from "../format.ts";
import { countdown, type Status } from "../model/status.ts";

/** What is shown beside the status. */
export interface Facts {
  /** The gateway's host. */
  readonly host: string;
  /** It is not the one that served the page. */
  readonly foreign: boolean;
  readonly codec: "json" | "msgpack";
  readonly connection: Connection | null;
  /** The last update of any token, milliseconds since 1970; 0: never. */
  readonly heardAt: number;
  /** Of the chosen token, for the title: `64,250.50 BTC`. */
  readonly quote: string | null;
  /** There is a client that tries, or is connected. */
  readonly trying: boolean;
}

/** Shows the status. */
export class StatusView {
  readonly #root = document.documentElement;
  readonly #icon = byId("status-icon", SVGSVGElement);
  readonly #title = text("status-title");
  readonly #detail = text("status-detail");
  readonly #host = text("status-host");
  readonly #facts = text("status-connection");
  readonly #toggle = text("toggle");
  readonly #announcer = text("announcer");
  readonly #favicon = byId("favicon", HTMLLinkElement);
  #said = "";
  #titledAt = 0;
  #titledFor = "";

  /** Shows it as it is at `now`, milliseconds since 1970. */
  show(status: Status, facts: Facts, now: number): void {
    setAttribute(this.#root, "data-tone", status.tone);
    setAttribute(this.#root, "data-fresh", status.fresh ? "yes" : "no");
    setAttribute(this.#root, "data-foreign", facts.foreign ? "" : null);
    setIcon(this.#icon, status.tone);
    setAttribute(this.#favicon, "href", `./icon-${status.tone}.svg`);
    this.#title.set(status.title);
    const next = countdown(status, navigator.onLine, now);
    const silent = now - facts.heardAt;
    const last = status.fresh || facts.heardAt === 0 || silent < 1_000 ? "" : `last price ${age(silent)} ago`;
    this.#detail.set([next, status.detail, last].filter((part) => part !== "").join(" · "));
    this.#host.set(facts.foreign ? `other gateway: ${facts.host}` : facts.host);
    this.#facts.set(factsLine(facts, status.fresh, now));
    setAttribute(this.#facts.element, "title", facts.connection === null ? null : names(facts.connection));
    this.#toggle.set(facts.trying ? "Disconnect" : "Connect");
    this.#showTitle(titleOf(status, next, facts.quote), status, now);
    this.#announce(status);
  }

  /** Not more often than once in a second, but a change of the state at once. */
  #showTitle(title: string, status: Status, now: number): void {
    const due = Math.abs(now - this.#titledAt) >= 1_000 || status.tone !== this.#titledFor;
    if (!due || title === document.title) return;
    this.#titledAt = now;
    this.#titledFor = status.tone;
    document.title = title;
  }

  #announce(status: Status): void {
    const said = [status.title, status.detail].filter((part) => part !== "").join(": ");
    // the number of the attempt alone is no change worth saying
    const kind = `${status.title} ${status.tone}`;
    if (kind === this.#said) return;
    this.#said = kind;
    this.#announcer.set(status.fresh ? `${said}. Values are fresh.` : `${said}. Values are not fresh.`);
  }
}

function factsLine(facts: Facts, fresh: boolean, now: number): string {
  const { connection } = facts;
  if (connection === null) return "";
  const codec = connection.transport !== "websocket" || facts.codec === "json" ? "JSON" : "MessagePack";
  const since = now - connection.since;
  const how = connection.transport === "websocket" ? `WebSocket, ${codec}` : codec;
  // in trouble the room is for what is wrong
  if (!fresh) return how;
  const parts = [how, since < 1_000 ? "just connected" : `for ${age(since)}`];
  if (connection.clients !== undefined) {
    parts.push(`${count(connection.clients)} ${connection.clients === 1 ? "client" : "clients"}`);
  }
  return parts.join(" · ");
}

/** What operators ask for. */
function names({ connectionId, server, epoch }: Connection): string {
  const parts = [server, connectionId && `connection ${connectionId}`, epoch && `stream ${epoch}`];
  return parts.filter((part) => part !== undefined && part !== "").join(", ");
}

function titleOf(status: Status, next: string, quote: string | null): string {
  if (status.fresh) {
    const by = status.tone === "fallback" ? "fallback · " : "";
    return quote === null ? `${by}live · odin` : `${by}${quote} · odin`;
  }
  const sign = status.tone === "off" ? "✕" : status.tone === "stale" ? "⚠" : "↻";
  return `${sign} ${next === "" ? status.title : next} · odin`;
}
