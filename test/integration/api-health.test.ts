import { beforeAll, describe, expect, it } from 'vitest';
import { DOMAINS } from '../../mixins/config';
import { notificationsDomain } from '../../services/notifications/notifications.domain';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { domainDatabase } from '../helpers/database';
import { expectProblem } from '../helpers/http';
import { signUp } from '../helpers/people';
import { until } from '../helpers/until';
import { openWire, type Wire } from '../helpers/wire';

let app: App;
let wire: Wire;

beforeAll(async () => {
  wire = await openWire(await domainDatabase(notificationsDomain));
  app = await startApp({ databaseUrls: { notifications: wire.url } });
});

const EVERYTHING_UP = Object.fromEntries(DOMAINS.map(domain => [domain, 'up']));

describe('GET /health/ready', () => {
  const ready = () => fetch(`${app.url}/health/ready`);

  it('names the databases that answer', async () => {
    expect(await (await ready()).json()).toEqual({ status: 'ok', databases: EVERYTHING_UP });
  });

  it('is 503 within two seconds when one of them is frozen, and says which, but not why', async () => {
    wire.freeze();
    const started = Date.now();
    const response = await ready();
    expect(Date.now() - started).toBeLessThan(2_000);
    expect(response.headers.get('retry-after')).toBe('1');
    const text = await response.clone().text();
    const problem = await expectProblem(response, 503, 'UNAVAILABLE');
    expect(problem.databases).toEqual({ ...EVERYTHING_UP, notifications: 'down' });
    for (const inside of ['127.0.0.1', 'postgres', 'ECONN', 'timeout']) expect(text).not.toContain(inside);
  });

  it('leaves alive what does not need it, and is 200 again when it is back', async () => {
    await wire.cut();
    expect((await fetch(`${app.url}/health/live`)).status).toBe(200);
    expect((await signUp(new Client(app.url))).user.role).toBe('ADMIN');
    await wire.mend();
    await until(async () => (await ready()).status === 200, { timeout: 20_000 });
  });
});
