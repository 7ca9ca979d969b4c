// More and more clients: RAMP=100,1000,5000,10000 connections, HOLD seconds at each, STEP seconds from one to the next.
import exec from 'k6/execution';
import { clients, summary, thresholds, TREND_STATS, vus } from './lib/odin.js';

const RAMP = (__ENV.RAMP || '100,1000,5000,10000').split(',').map(Number);
const HOLD = Number(__ENV.HOLD || 60);
const STEP = Number(__ENV.STEP || 30);
const TOTAL = RAMP.length * (HOLD + STEP);

export const options = {
  scenarios: {
    ramp: {
      executor: 'ramping-vus',
      startVUs: 0,
      stages: RAMP.flatMap((connections) => [
        { target: vus(connections), duration: `${STEP}s` },
        { target: vus(connections), duration: `${HOLD}s` },
      ]),
      gracefulStop: '10s',
    },
  },
  thresholds: thresholds(),
  summaryTrendStats: TREND_STATS,
};

export default function ramp() {
  // Everybody stays to the end.
  clients(exec.vu.idInTest, { endAt: exec.scenario.startTime + TOTAL * 1000 - 1000 });
}

export const handleSummary = summary;
