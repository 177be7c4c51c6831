import { setTimeout as delay } from 'node:timers/promises';
import { Client } from '../../helpers/client';
import { type SignedIn, signUp, unique, uniqueEmail } from '../../helpers/people';
import { RECOVERY, SCALE } from './scale';

const PEOPLE = 50;
/** Each so many changes somebody is invited, who gets a mail. */
export const INVITE_EVERY = 5;
const AGAIN_AFTER = 100;

/** What the phones of a company saw. */
export interface Seen {
  /** Changes that were answered 2xx in the end. */
  accepted: number;
  /** What other answers there were before that: statuses, or how the connection failed. */
  refused: string[];
}

/** A company whose administrator makes numbered changes at a steady rate, and never gives one up. */
export class Load {
  #admin!: SignedIn;
  #people: string[] = [];
  #number = 0;
  #turn = 0;

  /** @param urls where the users domain is reached: requests go to one after the other */
  constructor(private readonly urls: () => readonly string[]) {}

  /** Signs up, and invites the people whose names will change. */
  async begin(): Promise<void> {
    this.#admin = await signUp(new Client(this.#url()));
    const rows = Array.from({ length: PEOPLE }, () => `Number,Zero,${uniqueEmail('phone')}`);
    const answer = await this.#client().csv('/users/import', ['firstName,lastName,email', ...rows].join('\n'));
    if (answer.status !== 201) throw new Error(`The import answered ${answer.status}`);
    const listed = await this.#client().get('/users?pageSize=100&search=phone');
    this.#people = listed.body.rows.map(({ id }: { id: string }) => id);
  }

  /** Makes changes while something else is done, until all of them are accepted. */
  async during(meanwhile: () => Promise<void>, changes = SCALE.changes): Promise<Seen> {
    const seen: Seen = { accepted: 0, refused: [] };
    await this.#refresh();
    await Promise.all([meanwhile(), this.#send(changes, seen)]);
    return seen;
  }

  async #send(changes: number, seen: Seen): Promise<void> {
    const under: Promise<void>[] = [];
    const startedAt = performance.now();
    for (let nth = 0; nth < changes; nth++) {
      await delay(Math.max(0, startedAt + (nth * 1_000) / SCALE.perSecond - performance.now()));
      under.push(this.#insist(this.#nextChange(), seen));
    }
    await Promise.all(under);
  }

  /** One change, as what sends it: the same each time, so that it may be sent again. */
  #nextChange(): (client: Client) => Promise<{ status: number }> {
    const number = ++this.#number;
    if (number % INVITE_EVERY === 0) {
      const body = { firstName: `Number ${number}`, lastName: 'Invited', email: uniqueEmail('invited'), role: 'EMPLOYEE' };
      const headers = { 'idempotency-key': unique('key') };
      return client => client.post('/users', body, { headers });
    }
    const id = this.#people[number % this.#people.length];
    return client => client.patch(`/users/${id}`, { firstName: `Number ${number}` });
  }

  async #insist(change: (client: Client) => Promise<{ status: number }>, seen: Seen): Promise<void> {
    for (const deadline = performance.now() + RECOVERY; ; await delay(AGAIN_AFTER)) {
      const outcome = await change(this.#client()).then(
        ({ status }) => status,
        error => connectionFailure(error),
      );
      if (typeof outcome === 'number' && outcome < 300) return void seen.accepted++;
      seen.refused.push(String(outcome));
      if (performance.now() > deadline) throw new Error(`A change was refused for too long, last with ${outcome}`);
    }
  }

  #client(): Client {
    return new Client(this.#url(), this.#admin.accessToken);
  }

  #url(): string {
    const urls = this.urls();
    return urls[this.#turn++ % urls.length] ?? '';
  }

  /** Tokens last a quarter of an hour, which is less than all scenarios together take. */
  async #refresh(): Promise<void> {
    const body = { refreshToken: this.#admin.refreshToken };
    const answer = await new Client(this.#url()).post('/auth/refresh', body);
    if (answer.status !== 200) throw new Error(`The refresh answered ${answer.status}`);
    const { accessToken, refreshToken } = answer.body;
    this.#admin = { ...this.#admin, accessToken, refreshToken };
  }
}

function connectionFailure(error: unknown): string {
  const { cause, message } = error as Error & { cause?: { code?: string } };
  return cause?.code ?? message;
}
