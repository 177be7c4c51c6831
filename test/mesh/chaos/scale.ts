/** How much is done in each scenario: a short form for every run, the long one by `npm run test:chaos`. */
export const SCALE =
  process.env.CHAOS === 'long'
    ? { changes: 2_000, perSecond: 100, kills: 10, brokerOutages: [5_000, 60_000], outage: 10_000, frozen: 20_000 }
    : { changes: 300, perSecond: 75, kills: 2, brokerOutages: [3_000], outage: 3_000, frozen: 8_000 };

/** How long everything may take to be well again, in milliseconds. */
export const RECOVERY = 90_000;
