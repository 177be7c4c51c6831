import type { ServiceBroker } from 'moleculer';
import pg from 'pg';
import { afterAll } from 'vitest';
import { runCommand } from '../../services/repl/run';

interface Answered {
  /** What a script sees as exit code 0. */
  isWell: boolean;
  out: string;
  err: string;
}

/** Types a command of ours at a node's prompt. */
export async function type(broker: ServiceBroker, line: string): Promise<Answered> {
  const [out, err]: string[][] = [[], []];
  const isWell = await runCommand(broker, line.split(' '), { out: text => out?.push(text), err: text => err?.push(text) });
  return { isWell, out: lines(out), err: lines(err) };
}

const lines = (texts: string[] = []) => texts.map(text => `${text}\n`).join('');

/** The same with `--json`: the one document that is written. */
export async function typeJson(broker: ServiceBroker, line: string): Promise<{ isWell: boolean; json: any }> {
  const { isWell, out, err } = await type(broker, `${line} --json`);
  if (err) throw new Error(`With --json nothing goes to stderr: ${err}`);
  return { isWell, json: JSON.parse(out) };
}

const pools: pg.Pool[] = [];
// Before the databases go: hooks of the end run in reverse.
afterAll(() => Promise.all(pools.splice(0).map(pool => pool.end())));

/** Looks into a database by a connection of its own. */
export function poolOf(url: string | undefined): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  pool.on('error', () => undefined);
  pools.push(pool);
  return pool;
}

/** Rows of a domain's operator log, the newest first. */
export async function operatorLog(pool: pg.Pool): Promise<Record<string, any>[]> {
  const { rows } = await pool.query(
    'select operator, command, arguments, outcome, error, ended_at from operator_log order by id desc',
  );
  return rows;
}
