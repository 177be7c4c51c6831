/** How long the event log keeps what it no longer needs. */
export interface Retention {
  /** Rows of reactions that happened, in days. Events that are older never cause one: they could be doubles. */
  inboxDays: number;
  /** Published rows of the outbox, in days. */
  outboxDays: number;
  /** Dead letters and refused rows, in days. */
  deadLetterDays: number;
  /** Reactions that wait for somebody to arrive, in hours. */
  parkedHours: number;
  /** Age in hours up to which a group that comes for the first time still reacts. */
  catchUpHours: number;
}

export const FIXED_RETENTION: Omit<Retention, 'inboxDays' | 'outboxDays' | 'deadLetterDays'> = {
  parkedHours: 24,
  catchUpHours: 24,
};
