import { expect, test } from "vitest";
import { address } from "./address.ts";

const page = new URL("http://odin.example:8080/app/");
const secure = new URL("https://odin.example/");

test("without a word it is the gateway that served the page", () => {
  expect(address("", page)).toEqual({ url: "ws://odin.example:8080/ws", host: "odin.example:8080", foreign: false });
  expect(address(" ", secure)).toEqual({ url: "wss://odin.example/ws", host: "odin.example", foreign: false });
});

test("an address may be as short as a host", () => {
  expect(address("other:1234", page)).toEqual({ url: "ws://other:1234/ws", host: "other:1234", foreign: true });
  expect(address("other", secure)).toMatchObject({ url: "wss://other/ws" });
  expect(address("https://other/x?a=1#b", page)).toMatchObject({ url: "wss://other/x" });
  expect(address("ws://odin.example:8080", page)).toMatchObject({ foreign: false });
});

/** Checklist 17: a link that would make the page send a token somewhere else, or give it away. */
test("what is no gateway's address is refused", () => {
  for (const text of ["javascript:alert(1)", "ftp://x", "ws://", "wss://user:secret@x/ws", "data:text/html,x", "a b"]) {
    expect(typeof address(text, page), text).toBe("string");
  }
  expect(typeof address("ws://other/ws", secure)).toBe("string");
});
