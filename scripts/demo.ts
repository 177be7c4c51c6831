import { randomBytes } from 'node:crypto';

/**
 * Fills a running server through its public API: a company, five teams, 40 people. Prints curl lines to go on with.
 *
 *     npm run demo [-- http://127.0.0.1:3000]
 */

const DEFAULT_URL = 'http://127.0.0.1:3000';
const PEOPLE = 40;

const FIRST_NAMES = [
  'Élodie',
  'Théo',
  'Leïla',
  'Thabo',
  'Kenji',
  'Yusuf',
  'Amélie',
  'Arjun',
  'Anouk',
  'Inès',
  'Hana',
  'Noé',
  'Maëlys',
];
const LAST_NAMES = [
  'Lefèvre',
  'Nguyễn',
  'Henry',
  'Fernández',
  'Yamamoto',
  'Moretti',
  'Girard',
  'Iyer',
  'Diallo',
  'Benali',
  'Šimić',
];
const TEAMS = ['Entrepôt Nord', 'Logistique', 'Service client', 'Ateliers A', 'Night shift'];

class DemoError extends Error {}

interface Session {
  user: { id: string; email: string };
  company: { name: string };
  accessToken: string;
  refreshToken: string;
}

/** Sends a request and answers its JSON; whatever is not a success ends the demo with the reason. */
async function post<T>(url: string, body: { type: string; content: string }, token?: string): Promise<T> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': body.type, ...(token && { authorization: `Bearer ${token}` }) },
    body: body.content,
  });
  const text = await response.text();
  if (!response.ok) throw new DemoError(`POST ${url} answered ${response.status}:\n${text}`);
  return JSON.parse(text) as T;
}

async function assertReady(api: string): Promise<void> {
  let status: number;
  try {
    const response = await fetch(`${api}/health/ready`, { signal: AbortSignal.timeout(5_000) });
    await response.arrayBuffer();
    status = response.status;
  } catch {
    throw new DemoError(
      `No server answers at ${api}.\nStart one with: npm start\nIs it elsewhere? npm run demo -- http://host:port`,
    );
  }
  if (status !== 200) {
    throw new DemoError(`What answers at ${api} is no Hiver server that is ready: /health/ready says ${status}.`);
  }
}

/** The people as a spreadsheet would save them. */
function peopleCsv(domain: string): string {
  const ascii = (name: string) =>
    name
      .normalize('NFD')
      .replace(/\P{ASCII}/gu, '')
      .toLowerCase();
  const rows = Array.from({ length: PEOPLE }, (_, n) => {
    const firstName = FIRST_NAMES[n % FIRST_NAMES.length] ?? '';
    const lastName = LAST_NAMES[n % LAST_NAMES.length] ?? '';
    const role = n < TEAMS.length ? 'MANAGER' : 'EMPLOYEE';
    const startsOn = new Date(Date.UTC(2020, n, 1)).toISOString().slice(0, 10);
    const phone = `+33 6 ${[12, 34, 56, 10 + n].join(' ')}`;
    const email = `${ascii(firstName)}.${ascii(lastName)}@${domain}`;
    return [firstName, lastName, email, TEAMS[n % TEAMS.length], role, 'Europe/Paris', 'fr', startsOn, phone].join(',');
  });
  return ['firstName,lastName,email,team,role,timeZone,locale,startsOn,phone', ...rows].join('\n');
}

function nextSteps(api: string, session: Session, password: string, domain: string): string {
  const curl = (path: string, ...more: string[]) => ['curl -sS', `"$API${path}"`, ...more].join(' ');
  const json = (body: unknown) => `-H 'content-type: application/json' -d '${JSON.stringify(body)}'`;
  const auth = '-H "authorization: Bearer $TOKEN"';
  const person = { firstName: 'Camille', lastName: 'Moreau', email: `camille.moreau@${domain}`, role: 'EMPLOYEE' };
  const csv = `firstName,lastName,email,team\\nNoé,Girard,noe.girard@${domain},Logistique`;
  const steps: [what: string, line: string][] = [
    ['The server and the tokens; the access token lives 15 minutes', `API='${api}'`],
    ['', `TOKEN='${session.accessToken}'`],
    ['', `REFRESH='${session.refreshToken}'`],
    ['Who you are', curl('/users/me', auth)],
    ['The people, 20 a page', curl('/users?page=1&pageSize=20&sort=lastName,firstName', auth)],
    ['Search, without regard to accents and case', curl('/users?search=lefevre', auth)],
    ['The managers', curl('/users?role=MANAGER', auth)],
    ['The teams', curl('/teams', auth)],
    ['Your company', curl('/companies/current', auth)],
    ['Invite somebody', curl('/users', auth, json(person))],
    ['Change something of yours', curl('/users/me', '-X PATCH', auth, json({ phone: '+33 6 12 34 56 78' }))],
    [
      'What a file of people would do; without dryRun it does it',
      curl('/users/import?dryRun=true', auth, "-H 'content-type: text/csv'", `--data-binary $'${csv}'`),
    ],
    ['Accept an invitation: its token stands in the mail, see npm run mails', `INVITE='the token'`],
    [
      '',
      curl('/auth/accept-invite', `-H 'content-type: application/json' -d '{"token":"'$INVITE'","password":"a new password"}'`),
    ],
    [
      'New tokens for the refresh token, which is spent by this',
      curl('/auth/refresh', `-H 'content-type: application/json' -d '{"refreshToken":"'$REFRESH'"}'`),
    ],
    ['Sign out', curl('/auth/logout', '-X POST -i', auth)],
    ['Sign in again', curl('/auth/login', json({ email: session.user.email, password }))],
  ];
  return steps.map(([what, line]) => (what ? `\n# ${what}\n${line}` : line)).join('\n');
}

async function main(): Promise<void> {
  const api = (process.argv[2] ?? process.env.HIVER_URL ?? DEFAULT_URL).replace(/\/+$/, '');
  await assertReady(api);
  // A domain of its own, so that the demo can be run again.
  const domain = `atelier-${randomBytes(3).toString('hex')}.example`;
  const password = randomBytes(12).toString('base64url');
  const user = { firstName: 'Margaux', lastName: 'Moreau', email: `margaux.moreau@${domain}`, password };
  const company = { name: 'Atelier Lumière', timeZone: 'Europe/Paris', locale: 'fr' };
  const signUp = { type: 'application/json', content: JSON.stringify({ company, user, device: 'demo' }) };
  const session = await post<Session>(`${api}/auth/sign-up`, signUp);
  const csv = { type: 'text/csv', content: peopleCsv(domain) };
  const made = await post<{ imported: number; teamsCreated: number }>(`${api}/users/import`, csv, session.accessToken);
  console.log(`${session.company.name}: ${made.imported} people in ${made.teamsCreated} teams, invited by mail (npm run mails).`);
  console.log(`You are ${session.user.email}, its administrator. Your password: ${password}`);
  console.log(nextSteps(api, session, password, domain));
}

main().catch((error: Error) => {
  console.error(error instanceof DemoError ? error.message : error);
  process.exitCode = 1;
});
