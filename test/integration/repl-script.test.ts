import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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

    // What npm run mesh leaves behind.
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'mesh'));
    writeFileSync(join(folder, 'mesh', 'operators.env'), 'KAFKA_BROKERS=127.0.0.1:9\n');
    const found = new Running({ DATA_DIR: folder }, { args: REPL });
    expect(await found.ended()).toBe(1);
    expect(found.output).toContain('TRANSPORT_KEY is missing');

    const broken = new Running({ KAFKA_BROKERS: 'nowhere', TRANSPORT_KEY: KEY }, { args: REPL });
    expect(await broken.ended()).toBe(1);
    expect(broken.output).toContain('KAFKA_BROKERS must be a list of host:port');

    const typo = new Running({ KAFKA_BROKERS: '127.0.0.1:9' }, { args: [...REPL, '--exce', 'events status'] });
    expect(await typo.ended()).toBe(1);
    expect(typo.output).toContain("Unknown option '--exce'");
    expect(typo.output).toContain('Usage: npm run repl [-- --exec "<command>"]');
  });

  it('gives up when no other node answers', async () => {
    const environment = { KAFKA_BROKERS: '127.0.0.1:9', TRANSPORT_KEY: KEY };
    const run = new Running(environment, { args: [...REPL, '--exec', 'events status --json'] });
    expect(await run.ended(40_000)).toBe(1);
    expect(run.output).toContain('No other node answered within 15 s.');
  });
});
