import pg from 'pg';
import { DOMAINS, type Domain } from '../../../mixins/config';
import { readMails } from '../../helpers/mails';
import { until } from '../../helpers/until';
import { RECOVERY } from './scale';

const FOLLOWERS = DOMAINS.filter(domain => domain !== 'users');

/** Everything that a copy keeps of a person, as the owner has it. */
const SOURCE = `select json_build_object('id', id, 'companyId', company_id, 'firstName', first_name, 'lastName', last_name,
    'email', email, 'role', role, 'status', status, 'version', version)::text as person
  from users order by id`;
const COPY = SOURCE.replace('from users', 'from user_infos where removed_at is null');

/** Looks into the databases of a mesh, past all of its code. */
export class Stores {
  readonly #pools: Record<Domain, pg.Pool>;

  constructor(
    urls: Record<Domain, string>,
    private readonly dataDir: string,
  ) {
    const pools = DOMAINS.map(domain => {
      const pool = new pg.Pool({ connectionString: urls[domain], max: 2 });
      // Some of them are killed on purpose.
      pool.on('error', () => undefined);
      return [domain, pool] as const;
    });
    this.#pools = Object.fromEntries(pools) as Record<Domain, pg.Pool>;
  }

  async rows<Row extends pg.QueryResultRow>(domain: Domain, text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.#pools[domain].query<Row>(text, values)).rows;
  }

  async count(domain: Domain, from: string): Promise<number> {
    const [row] = await this.rows<{ count: string }>(domain, `select count(*) from ${from}`);
    return Number(row?.count);
  }

  async people(): Promise<string[]> {
    return (await this.rows<{ person: string }>('users', SOURCE)).map(({ person }) => person);
  }

  async copies(domain: Domain): Promise<string[]> {
    return (await this.rows<{ person: string }>(domain, COPY)).map(({ person }) => person);
  }

  /**
   * Waits until nothing is under way any more, and checks that nothing was lost and nothing doubled: every copy is what
   * its owner has, and whoever was invited or signed up has one mail.
   */
  async assertWhole(): Promise<void> {
    const people = await this.people();
    await until(async () => (await this.count('users', 'outbox where published_at is null')) === 0, {
      timeout: RECOVERY,
      what: 'The outbox is empty',
    });
    for (const domain of FOLLOWERS) {
      await until(async () => (await this.copies(domain)).join() === people.join() || (await this.#difference(domain, people)), {
        timeout: RECOVERY,
        every: 200,
        what: `The copy of ${domain}`,
      });
    }
    const mails = await until(() => this.#mailsOf(people.length), {
      timeout: RECOVERY,
      every: 200,
      what: 'A mail for everybody',
    });
    if (new Set(mails).size !== mails.length) throw new Error('Somebody got two mails');
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#pools).map(pool => pool.end()));
  }

  async #mailsOf(expected: number): Promise<string[] | undefined> {
    const mails = await readMails(this.dataDir);
    if (mails.length < expected) throw new Error(`${mails.length} mails of ${expected}`);
    if (new Set(mails.map(({ messageId }) => messageId)).size !== mails.length) throw new Error('A Message-ID came twice');
    return mails.map(({ to }) => to);
  }

  async #difference(domain: Domain, people: readonly string[]): Promise<never> {
    const copies = new Set(await this.copies(domain));
    const missing = people.filter(person => !copies.has(person));
    throw new Error(`${missing.length} of ${people.length} people differ in ${domain}, such as ${missing[0]}`);
  }
}
