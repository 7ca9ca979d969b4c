// BASE clients, and SPIKE within RISE seconds, who leave again after HOLD; those who were there must not notice.
import exec from 'k6/execution';
import { clients, summary, thresholds, TREND_STATS, vus } from './lib/odin.js';

const BASE = Number(__ENV.BASE || 500);
const SPIKE = Number(__ENV.SPIKE || 5000);
const RISE = Number(__ENV.RISE || 5);
const HOLD = Number(__ENV.HOLD || 30);
const QUIET = Number(__ENV.QUIET || 15);

export const options = {
  scenarios: {
    base: {
      executor: 'per-vu-iterations', vus: vus(BASE), iterations: 1, maxDuration: `${3 * QUIET + RISE + HOLD + 30}s`, exec: 'base',
    },
    spike: {
      executor: 'per-vu-iterations', vus: vus(SPIKE), iterations: 1, startTime: `${QUIET}s`,
      maxDuration: `${RISE + HOLD + 30}s`, exec: 'spike',
    },
  },
  thresholds: thresholds({
    'odin_delivery{scenario:base}': ['p(95)<500'],
    'odin_connect{scenario:spike}': ['p(99)<500'],
    odin_unasked_closes: ['count<1'],
  }),
  summaryTrendStats: TREND_STATS,
};

export function base() {
  clients(exec.vu.idInTest, { endAt: exec.scenario.startTime + (2 * QUIET + RISE + HOLD) * 1000 });
}

export function spike() {
  clients(exec.vu.idInTest, { endAt: exec.scenario.startTime + (RISE + HOLD) * 1000 }, { spreadMs: RISE * 1000 });
}

export const handleSummary = summary;
