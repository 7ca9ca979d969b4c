import type { State } from "@odin/client";
import { expect, test } from "vitest";
import { countdown, statusOf } from "./status.ts";

const quiet = { pending: false, stale: null, refused: null };
const connection = { connectionId: "a", since: 0, clients: 1, server: undefined, epoch: undefined };
const connected: State = { status: "connected", transport: "websocket", ...connection };

test("only a confirmed subscription on a connection that is not stale is fresh", () => {
  const states: (State | null)[] = [
    null,
    { status: "connecting", attempt: 1 },
    { status: "reconnecting", attempt: 2, retryAt: 0, reason: "x", code: 1006 },
    { status: "closed", code: 4403, reason: "forbidden", willReturn: false },
    { status: "stale", reason: "bus_lost", since: 0, connection: { transport: "websocket", ...connection } },
  ];
  for (const state of states) expect(statusOf(state, quiet, false).fresh, state?.status).toBe(false);
  expect(statusOf(connected, quiet, false)).toMatchObject({ fresh: true, tone: "live", title: "Live" });
  expect(statusOf(connected, { ...quiet, pending: true }, false)).toMatchObject({ fresh: false, tone: "wait" });
  expect(statusOf(connected, { ...quiet, stale: "feed_silent" }, false)).toMatchObject({
    fresh: false,
    tone: "stale",
    detail: "the source is silent",
  });
  expect(statusOf(connected, { ...quiet, refused: "price:*: no" }, false)).toMatchObject({ fresh: false, tone: "off" });
});

test("a fallback is live and says what it is", () => {
  const state: State = { status: "fallback", transport: "poll", ...connection };
  expect(statusOf(state, quiet, false)).toMatchObject({ fresh: true, tone: "fallback", title: "Live by long polling" });
});

test("the wait until the next try is told in whole seconds, and not when there is none", () => {
  const at = (retryAt: number | null) =>
    statusOf({ status: "reconnecting", attempt: 1, retryAt, reason: "", code: undefined }, quiet, false);
  expect(countdown(at(2_001), true, 0)).toBe("next try in 3 s");
  expect(countdown(at(0), true, 5)).toBe("trying now");
  expect(countdown(at(null), true, 0)).toBe("next try when the network is back");
  expect(countdown(at(2_000), false, 0)).toBe("this device is offline");
  expect(countdown(statusOf(connected, quiet, false), true, 0)).toBe("");
});

test("a close code that a person can do something about says so", () => {
  const state: State = { status: "closed", code: 4401, reason: "unauthorized", willReturn: false };
  expect(statusOf(state, quiet, false).detail).toBe("the token is not valid: sign in again (4401)");
});
