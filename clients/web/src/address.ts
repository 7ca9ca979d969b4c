/**
 * Which gateway the page talks to: the one that served it, unless somebody says otherwise.
 */

/** A gateway's address. */
export interface Address {
  /** Of the WebSocket: `wss://odin.example/ws`. */
  readonly url: string;
  /** For people: `odin.example`. */
  readonly host: string;
  /** Another one than the page came from. */
  readonly foreign: boolean;
}

/** The gateway that served the page. */
export function ownAddress(page: URL): Address {
  const own = new URL("/ws", page);
  own.protocol = page.protocol === "https:" ? "wss:" : "ws:";
  return { url: own.href, host: own.host, foreign: false };
}

/**
 * Works out the address.
 *
 * @param typed - what a person wrote: nothing, `host:port`, or a URL of http, https, ws or wss
 * @param page - the page's own address
 * @returns what is wrong with it, as a text
 */
export function address(typed: string, page: URL): Address | string {
  const text = typed.trim();
  const own = ownAddress(page);
  if (text === "") return own;
  const secure = page.protocol === "https:";
  const full = /^[a-z]+:\/\//i.test(text) ? text : `${secure ? "wss" : "ws"}://${text}`;
  let url: URL;
  try {
    url = new URL(full.replace(/^http/i, "ws"));
  } catch {
    return "this is no address: write wss://host/ws";
  }
  if (url.protocol !== "ws:" && url.protocol !== "wss:") return "the address begins with wss:// or ws://";
  if (url.username !== "" || url.password !== "") return "no user in the address: sign in with a token";
  if (secure && url.protocol === "ws:") return "a page that came by https can only use wss://";
  if (url.pathname === "/") url.pathname = "/ws";
  url.search = "";
  url.hash = "";
  return { url: url.href, host: url.host, foreign: url.host !== own.host };
}
