import { afterEach, expect, test, vi } from "vitest";
import { History } from "./history.ts";
import { Market } from "./model/market.ts";

const WALL = 10_000_000;
const GATEWAY = "ws://odin.example/ws";

interface Answer {
  readonly status?: number;
  readonly body: unknown;
}

/** Answers requests in order, and gives the addresses that were asked for. */
function answer(...answers: readonly Answer[]): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: URL) => {
    const { status = 200, body } = answers[asked.length] ?? { status: 500, body: null };
    asked.push(url.href);
    return new Response(JSON.stringify(body), { status });
  });
  return asked;
}

function market(): Market {
  const made = new Market();
  made.take({ channel: "price:BTC", data: { price: 9 }, ts: WALL - 5, snapshot: false }, 0, WALL);
  return made;
}

const update = (ts: unknown, price: unknown) => ({ type: "update", channel: "price:BTC", seq: 1, ts, data: { price } });

async function fill(of: Market): Promise<number[]> {
  const token = of.tokens.get("BTC");
  if (token === undefined) throw new Error("no token");
  const filled = vi.fn();
  const history = new History(of, filled);
  history.want(token, GATEWAY);
  history.want(token, GATEWAY);
  await vi.waitFor(() => expect(filled).toHaveBeenCalled());
  return Array.from({ length: token.points.length }, (_, index) => token.points.value(index));
}

afterEach(() => {
  vi.unstubAllGlobals();
});

test("the past is put in front of what is known, page by page, and asked for once", async () => {
  const asked = answer(
    { body: { cursor: "c1", more: true, messages: [update(WALL - 9_000, 1), update(WALL - 8_000, 2)] } },
    { body: { cursor: "c2", more: false, messages: [update(WALL - 7_000, 3)] } },
  );
  expect(await fill(market())).toEqual([1, 2, 3, 9]);
  expect(asked).toHaveLength(2);
  expect(asked[0]).toMatch(/^http:\/\/odin\.example\/v1\/channels\/price:BTC\/history\?since=-?\d+&limit=1000$/);
  expect(asked[1]).toContain("since=c1");
});

test("a past that does not reach the present ends in a break", async () => {
  answer(...Array.from({ length: 4 }, (_, page) => ({ body: { cursor: "c", more: true, messages: [update(WALL - 9_000 + page * 1_000, page)] } })));
  expect(await fill(market())).toEqual([0, 1, 2, 3, NaN, 9]);
});

/** Checklist 49: what is stored has any shape. */
test("what is no price, or out of order, is left out", async () => {
  const messages = [null, 7, {}, update("x", 1), update(WALL - 9_000, "1"), update(WALL - 8_000, 5), update(WALL - 8_500, 4), { type: "gap" }];
  answer({ body: { cursor: 5, more: true, messages } });
  expect(await fill(market())).toEqual([5, 9]);
});

test("a gateway without history is asked once", async () => {
  const asked = answer({ status: 404, body: {} });
  const of = market();
  of.take({ channel: "price:ETH", data: { price: 1 }, ts: WALL, snapshot: false }, 0, WALL);
  const history = new History(of, () => expect.unreachable());
  for (const token of of.tokens.values()) {
    history.want(token, GATEWAY);
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  expect(asked).toHaveLength(1);
});
