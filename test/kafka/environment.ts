/** Variable in which processes that tests start find the brokers. Apart from whatever loads vitest, which they cannot. */
export const TEST_BROKERS = 'HIVER_TEST_KAFKA';
