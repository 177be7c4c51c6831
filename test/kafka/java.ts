import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { hasEnded, signal } from '../../mixins/embedded/processes';
import { HERE } from './jars';
import type { Security } from './properties';

const run = promisify(execFile);
const CLUSTER_ID = 'MkU3OEVBNTcwNTJENDM2Qg';
const START_TIMEOUT = 60_000;
export const STOP_TIMEOUT = 20_000;

/** One Kafka server, configured by the `server.properties` of its folder. */
export class Java {
  #pid = 0;

  constructor(
    private readonly jars: string,
    private readonly folder: string,
  ) {}

  /**
   * Gives an empty folder its identity.
   * @param options `isAlone` unless its settings name the other servers; `known` to SCRAM from the beginning
   */
  async format({
    isAlone = false,
    known,
  }: {
    isAlone?: boolean;
    known?: Pick<Security, 'username' | 'password'>;
  }): Promise<void> {
    const standalone = isAlone ? ['--standalone'] : [];
    const arguments_ = ['format', ...standalone, '-t', CLUSTER_ID, '-c', join(this.folder, 'server.properties')];
    for (const mechanism of known ? ['SCRAM-SHA-256', 'SCRAM-SHA-512'] : []) {
      arguments_.push('--add-scram', `${mechanism}=[name=${known?.username},password=${known?.password}]`);
    }
    await run('java', ['-Xmx128m', ...this.#options(), 'kafka.tools.StorageTool', ...arguments_]);
  }

  async start(): Promise<void> {
    const file = join(this.folder, 'log');
    const log = openSync(file, 'w');
    const child = spawn(
      'java',
      ['-Xms128m', '-Xmx384m', ...this.#archive(), ...this.#options(), 'kafka.Kafka', join(this.folder, 'server.properties')],
      // Not in the group that a terminal's Ctrl-C goes to: it is stopped by whoever started it, last of all.
      { detached: true, stdio: ['ignore', log, log] },
    );
    closeSync(log);
    await once(child, 'spawn');
    child.unref();
    this.#pid = child.pid ?? 0;
    writeFileSync(join(this.folder, 'pid'), String(this.#pid));
    for (const deadline = Date.now() + START_TIMEOUT; ; await delay(50)) {
      if (readFileSync(file, 'utf8').includes('Kafka Server started')) return;
      if (child.exitCode === null && Date.now() < deadline) continue;
      await this.end('SIGKILL');
      throw new Error(`Kafka does not start:\n${readFileSync(file, 'utf8').slice(-4_000)}`);
    }
  }

  async end(name: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#pid === 0) return;
    const pid = this.#pid;
    this.#pid = 0;
    signal(pid, name);
    if (!(await hasEnded(pid, STOP_TIMEOUT))) {
      signal(pid, 'SIGKILL');
      await hasEnded(pid, STOP_TIMEOUT);
    }
    const written = join(this.folder, 'classes.jsa');
    if (existsSync(written) && !existsSync(this.#sharedClasses)) renameSync(written, this.#sharedClasses);
  }

  get #sharedClasses(): string {
    return join(this.jars, 'classes.jsa');
  }

  /** Classes as they are in memory, written at the first orderly end: with them it starts in a third of the time. */
  #archive(): string[] {
    if (existsSync(this.#sharedClasses)) return [`-XX:SharedArchiveFile=${this.#sharedClasses}`, '-Xshare:auto'];
    return [`-XX:ArchiveClassesAtExit=${join(this.folder, 'classes.jsa')}`];
  }

  #options(): string[] {
    return [
      '-XX:+UseSerialGC',
      '-XX:TieredStopAtLevel=1',
      '-Djava.awt.headless=true',
      `-Dlog4j2.configurationFile=${join(HERE, 'log4j2.yaml')}`,
      '-Dlog4j2.shutdownHookEnabled=false',
      '-cp',
      `${join(this.jars, 'libs')}/*`,
    ];
  }
}
