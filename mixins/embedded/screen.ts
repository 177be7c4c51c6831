import type { Server } from 'node:http';
import { join, relative } from 'node:path';
import type { ServiceBroker } from 'moleculer';
import type { Config } from '../config';

/** What a person sees once everything runs: where it is, and what to do next. */
export function startScreen(broker: ServiceBroker, { dataDir, host, smtpUrl }: Config): string {
  const url = `http://${host === '127.0.0.1' || host === '0.0.0.0' ? 'localhost' : host}:${portOf(broker)}`;
  const data = relative(process.cwd(), dataDir) || '.';
  return `
  Hiver runs, ${process.uptime().toFixed(1)} s after its start. Ctrl-C stops it.

    API     ${url}
    docs    ${url}/docs
    data    ${data}
    mails   ${smtpUrl ? 'sent by SMTP_URL' : `${join(data, 'mail')}, printed by: npm run mails`}
    demo    npm run demo, in another terminal

`;
}

function portOf(broker: ServiceBroker): number | undefined {
  const api = broker.getLocalService('api') as { server?: Server } | undefined;
  const address = api?.server?.address();
  return typeof address === 'object' ? address?.port : undefined;
}
