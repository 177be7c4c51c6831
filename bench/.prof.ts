import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { startPostgres } from '../mixins/embedded/postgres';
import { load } from './load';
import { cpuTime, leaveServerCore, memory, settle, startServer } from './processes';
import { assemble, SCENARIOS } from './scenarios';
import { seed } from './seed';

async function main() {
  leaveServerCore();
  const dataDir = mkdtempSync('/tmp/hiver-prof-');
  chmodSync(dataDir, 0o711);
  const postgres = await startPostgres({
    dataDir,
    databases: ['hiver_users', 'hiver_notifications'],
    log: { info: () => {}, warn: console.error },
  });
  try {
    const url = postgres.urls.hiver_users!;
    await seed(url);
    const environment = {
      DATA_DIR: dataDir + '/app',
      DATABASE_URL_USERS: url,
      DATABASE_URL_NOTIFICATIONS: postgres.urls.hiver_notifications!,
      JWT_PRIVATE_KEYS: generateKeyPairSync('ec', { namedCurve: 'P-256' })
        .privateKey.export({ format: 'pem', type: 'pkcs8' })
        .toString(),
      SEAL_KEYS: 'bench:' + 'A'.repeat(43),
    };
    const server = await startServer({
      name: 'hiver',
      args: [
        ...(process.env.HEAP ? ['--heapsnapshot-signal=SIGUSR2'] : []),
        '--cpu-prof',
        '--cpu-prof-dir=' + process.env.PROF,
        process.env.APP!,
      ],
      environment,
      readyPath: '/health/ready',
      logFile: dataDir + '/app.log',
    });
    try {
      const cast = await assemble(server);
      const s = SCENARIOS.find(s => s.name === process.env.SCENARIO)!;
      const args = { server, requestsOf: (n: number) => s.requestsOf(cast, n), connections: s.isLogin ? 8 : 32 };
      await load({ ...args, duration: 1 });
      await settle([server]);
      const a = cpuTime(server.pid);
      const r = await load({ ...args, duration: Number(process.env.DUR ?? 3) });
      const b = cpuTime(server.pid);
      const m = memory(server.pid);
      await settle([server]);
      const c = cpuTime(server.pid);
      console.log(JSON.stringify(r), 'in load', (b - a) / r.answers, 'after', (c - b) / r.answers, 'rss', m, memory(server.pid));
      try {
        console.log('mails', readdirSync(dataDir + '/app/mail').length);
      } catch (e) {
        console.log('no mails');
      }
      for (let i = 0; i < Number(process.env.WATCH ?? 0); i++) {
        await delay(1000);
        console.log((cpuTime(server.pid) - c) / 1000, memory(server.pid));
      }
      const u = new pg.Client({ connectionString: url });
      await u.connect();
      console.log((await u.query('select count(*), count(published_at) published from outbox')).rows);
      await u.end();
      const n = new pg.Client({ connectionString: postgres.urls.hiver_notifications! });
      await n.connect();
      console.log(
        (await n.query(`select relname, n_live_tup from pg_stat_user_tables`)).rows
          .map(r => r.relname + ' ' + r.n_live_tup)
          .join(', '),
      );
      await n.end();
    } finally {
      await server.stop();
    }
    console.log(
      readFileSync(dataDir + '/app.log', 'utf8')
        .split('\n')
        .filter(l => /warn|error|"level":[456]/.test(l))
        .slice(0, 5)
        .join('\n')
        .slice(0, 2000),
    );
  } finally {
    await postgres.stop();
    rmSync(dataDir, { recursive: true });
  }
}
main();
