import { ServiceBroker } from 'moleculer';
import { describe, expect, it } from 'vitest';
import { PinoLogger } from '../../mixins/logger';

type Line = Record<string, unknown> & { err?: Record<string, unknown> };

function brokerWithLines(level: 'info' | 'debug' = 'info') {
  const lines: Line[] = [];
  const logger = new PinoLogger(level, { to: { write: text => void lines.push(JSON.parse(text)) } });
  const broker = new ServiceBroker({ nodeID: 'node-1', logger, skipProcessEventRegistration: true });
  return { broker, lines };
}

describe('PinoLogger', () => {
  it('writes one JSON object a line, with level, time, node and module by name', () => {
    const { broker, lines } = brokerWithLines();
    broker.getLogger('users').info({ userId: 'u1' }, 'Signed in');
    expect(lines).toEqual([
      { level: 'info', time: expect.stringMatching(/^\d{4}-.*Z$/), node: 'node-1', mod: 'users', userId: 'u1', msg: 'Signed in' },
    ]);
  });

  it('keeps the error that Moleculer puts behind a message', () => {
    const { broker, lines } = brokerWithLines();
    broker.getLogger('users').error('It failed.', new Error('Out of luck', { cause: new TypeError('Deeper') }));
    expect(lines[0]).toMatchObject({
      msg: 'It failed.',
      err: { name: 'Error', message: 'Out of luck', cause: { name: 'TypeError' } },
    });
    expect(lines[0]?.err?.stack).toContain('logger.test');
  });

  it('takes an error alone', () => {
    const { broker, lines } = brokerWithLines();
    broker.getLogger('users').warn(new Error('Alone'));
    expect(lines[0]).toMatchObject({ level: 'warn', msg: 'Alone', err: { message: 'Alone' } });
  });

  it('leaves out what errors of databases and requests carry along', () => {
    const { broker, lines } = brokerWithLines();
    const secrets = { detail: 'Key (email)=(ada@acme.example)', parameters: ['hunter2'], sql: 'insert …', data: { body: 'x' } };
    const error = Object.assign(new Error('duplicate key', { cause: Object.assign(new Error('inner'), secrets) }), secrets, {
      code: '23505',
    });
    broker.getLogger('users').error({ err: error }, 'It failed.');
    broker.getLogger('users').error('It failed.', error);
    for (const line of lines) {
      expect(Object.keys(line.err ?? {}).sort()).toEqual(['cause', 'code', 'message', 'name', 'stack']);
      expect(JSON.stringify(line)).not.toMatch(/ada@acme|hunter2|insert …/);
    }
  });

  it('does not repeat what Moleculer says about itself, unless asked to debug', async () => {
    for (const level of ['info', 'debug'] as const) {
      const { broker, lines } = brokerWithLines(level);
      broker.createService({ name: 'quiet' });
      await broker.start();
      await broker.stop();
      expect(lines.length > 0).toBe(level === 'debug');
    }
  });

  it('says what goes wrong in a service', async () => {
    const { broker, lines } = brokerWithLines();
    broker.createService({ name: 'loud', stopped: () => Promise.reject(new Error('Stuck')) });
    await broker.start();
    await broker.stop();
    expect(lines).toMatchObject([{ level: 'error', err: { message: 'Stuck' } }]);
  });
});
