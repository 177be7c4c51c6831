import { describe, expect, it } from 'vitest';
import { Running, temporaryFolder } from '../helpers/processes';

const REPL = ['--import', 'tsx', 'scripts/repl.ts'];
const KEY = `a:${Buffer.alloc(32).toString('base64url')}`;

describe('npm run repl', () => {
  it('says where the commands are when there is no mesh to join', async () => {
    const run = new Running({ DATA_DIR: temporaryFolder() }, { args: REPL });
    expect(await run.ended()).toBe(1);
    expect(run.output).toContain('There is no mesh to join: KAFKA_BROKERS is not set');
    expect(run.output).toContain('npm run dev');
  });

  it('names what is missing or wrong', async () => {
    const run = new Running({ KAFKA_BROKERS: '127.0.0.1:9' }, { args: REPL });
    expect(await run.ended()).toBe(1);
    expect(run.output).toBe('The configuration has 1 problem(s):\n  - TRANSPORT_KEY is missing\n');

    const broken = new Running({ KAFKA_BROKERS: 'nowhere', TRANSPORT_KEY: KEY }, { args: REPL });
    expect(await broken.ended()).toBe(1);
    expect(broken.output).toContain('KAFKA_BROKERS must be a list of host:port');

    const typo = new Running({ KAFKA_BROKERS: '127.0.0.1:9' }, { args: [...REPL, '--exce', 'events status'] });
    expect(await typo.ended()).toBe(1);
    expect(typo.output).toContain("Unknown option '--exce'");
    expect(typo.output).toContain('Usage: npm run repl [-- --exec "<command>"]');
  });
});
