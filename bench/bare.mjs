// What one Node.js process can do: node:http and pg, no framework. It does the work of five of the application's routes
// on the application's own tables: verify the token (once), check the input, write outbox and audit rows, answer the
// same JSON. Only what the bench asks for is there: people as an administrator sees them, no teams for new people.

import { createCipheriv, createHash, createPrivateKey, createPublicKey, randomBytes, randomUUID } from 'node:crypto';
import http from 'node:http';
import { hash } from '@node-rs/argon2';
import jwt from 'jsonwebtoken';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';

const { HOST, PORT, DATABASE_URL_USERS, JWT_PRIVATE_KEYS, SEAL_KEYS } = process.env;
const privateKey = createPrivateKey(JWT_PRIVATE_KEYS);
const publicKey = createPublicKey(privateKey);
const { x, y } = publicKey.export({ format: 'jwk' });
const kid = createHash('sha256')
  .update(JSON.stringify({ crv: 'P-256', kty: 'EC', x, y }))
  .digest('base64url');
const issuer = { issuer: 'hiver', audience: 'hiver' };
const [sealId, sealKey] = SEAL_KEYS.split(':');
const TOKEN_SECONDS = 900;
const INVITE_MS = 7 * 86_400_000;
const ARGON2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

// timestamptz as text (the session is in UTC) straight to ISO 8601, without a Date in between.
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, text => {
  const time = `${text.slice(0, 10)}T${text.slice(11, text.lastIndexOf('+'))}`;
  return time.length === 19 ? `${time}.000Z` : `${time.padEnd(23, '0')}Z`;
});
pg.types.setTypeParser(pg.types.builtins.DATE, text => text);
const pool = new pg.Pool({ connectionString: DATABASE_URL_USERS, max: 5, options: '-c TimeZone=UTC' });

const PERSON = `u.id, u.first_name as "firstName", u.last_name as "lastName", u.email, u.role, u.status,
  coalesce((
    select json_agg(json_build_object('id', t.id, 'name', t.name) order by t.name, t.id)
    from user_teams ut join teams t on t.company_id = ut.company_id and t.id = ut.team_id
    where ut.company_id = u.company_id and ut.user_id = u.id
  ), '[]') as teams,
  u.picture_url as "pictureUrl", u.phone, u.time_zone as "timeZone", u.locale, u.starts_on as "startsOn",
  u.created_at as "createdAt", u.updated_at as "updatedAt", u.version`;
const RECENT = "at > clock_timestamp() - interval '15 minutes'";
const THROTTLED = `exists (
  select from unnest($1::bytea[], $2::int[]) asked (subject, most) join login_failures f using (subject)
  where (select count(*) from unnest(f.failed_at) at where ${RECENT}) >= asked.most)`;

const SQL = {
  find: `select ${PERSON} from users u where u.company_id = $1 and u.id = $2`,
  list: `select ${PERSON}, (select count(*)::int from (select 1 from users where company_id = $1 limit 10001) matching) as total
    from users u where u.company_id = $1 order by u.last_name, u.first_name, u.id limit $2 offset $3`,
  count: 'select count(*)::int as total from (select 1 from users where company_id = $1 limit 10001) matching',
  company: 'select time_zone as "timeZone", locale from companies where id = $1',
  create: `with made as (
      insert into users (id, company_id, first_name, last_name, email, role, status, time_zone, locale, starts_on, phone,
        created_at, updated_at)
      values ($1::uuid, $2::uuid, $3, $4, $5, $6, 'INVITED', $7, $8, $9::date, $10, $11::timestamptz, $11::timestamptz)),
    link as (
      insert into link_tokens (token_hash, company_id, user_id, kind, address, expires_at)
      values ($12::bytea, $2::uuid, $1::uuid, 'INVITE', $5, $13::timestamptz)),
    recorded as (
      insert into outbox (id, topic, key, company_id, version, compacted, envelope)
      values ($14::uuid, 'users.create', $1::text, $2::uuid, 1, true, $15))
    insert into audit_entries (company_id, id, user_id, action, subject_type, subject_id, after, request_id)
    values ($2::uuid, $16::uuid, $17::uuid, 'users.create', 'user', $1::uuid, $18::jsonb, $19)`,
  throttled: `select ${THROTTLED} as "isThrottled"`,
  secret: 'select secret from login_secret',
  account: `select id as "userId", company_id as "companyId" from users
    where lower(email) = lower($1) and password_hash = $2 and status = 'ACTIVE'
    order by email_verified_at is null, created_at, id limit 1`,
  session: `with person as (
      select * from users where company_id = $4 and id = $5 and status = 'ACTIVE' and not ${THROTTLED} for no key update),
    session as (
      insert into sessions (id, company_id, user_id, device) select $3::uuid, company_id, id, $6::text from person returning id),
    token as (
      insert into refresh_tokens (token_hash, session_id, expires_at)
      select $7::bytea, id, now() + interval '30 days' from session)
    select ${PERSON} from person u`,
  failure: `insert into login_failures as known (subject, failed_at, last_failed_at)
    select subject, array[clock_timestamp()], clock_timestamp() from unnest($1::bytea[]) subject
    on conflict (subject) do update set last_failed_at = clock_timestamp(),
      failed_at = (select coalesce(array_agg(at order by at), '{}') || clock_timestamp() from unnest(known.failed_at) at where ${RECENT})`,
};
const query = async (name, values) => (await pool.query({ name, text: SQL[name], values })).rows;

class Problem extends Error {
  constructor(status, code, errors) {
    super(code);
    this.answer = [status, { type: 'about:blank', title: code, status, code, errors }, 'application/problem+json'];
  }
}
const unauthenticated = () => new Problem(401, 'UNAUTHENTICATED');
const notFound = () => new Problem(404, 'NOT_FOUND');

const verified = new Map();

function authenticate(request) {
  const header = request.headers.authorization ?? '';
  const token = header.startsWith('Bearer ') ? header.slice(7) : '';
  let claims = verified.get(token);
  if (!claims) {
    try {
      claims = jwt.verify(token, publicKey, { ...issuer, algorithms: ['ES256'] });
    } catch {
      throw unauthenticated();
    }
    if (verified.size >= 10_000) verified.clear();
    verified.set(token, claims);
  }
  if (claims.exp * 1_000 <= Date.now()) throw unauthenticated();
  return claims;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const EMAIL = /^(?!\.)(?!.*\.\.)([a-z0-9_'+\-.]*)[a-z0-9_+-]@([a-z0-9][a-z0-9-]*\.)+[a-z]{2,}$/i;
const DAY = /^\d{4}-\d\d-\d\d$/;
const PHONE = /^\+?[0-9][0-9 ().-]{3,30}$/;
const zones = new Set([...Intl.supportedValuesOf('timeZone'), 'UTC']);
const text =
  (most, pattern = /^\P{Cc}+$/u) =>
  value =>
    typeof value === 'string' && value.length <= most && pattern.test(value);
const among = values => value => values.includes(value);
const optional = check => value => value === undefined || check(value);
const nullable = check => value => value == null || check(value);
const day = value => DAY.test(value) && !Number.isNaN(Date.parse(value)) && new Date(value).toISOString().startsWith(value);

const SHAPES = {
  person: {
    firstName: text(100),
    lastName: text(100),
    email: text(254, EMAIL),
    role: among(['ADMIN', 'MANAGER', 'EMPLOYEE']),
    timeZone: optional(value => zones.has(value)),
    locale: optional(among(['en', 'fr'])),
    startsOn: nullable(day),
    phone: nullable(text(32, PHONE)),
  },
  login: { email: text(254, EMAIL), password: text(128, /./s), device: optional(text(100)) },
};

function check(body, shape) {
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
  const wrong = isObject
    ? [
        ...Object.keys(shape).filter(key => !shape[key](body[key])),
        ...Object.keys(body).filter(key => !Object.hasOwn(shape, key)),
      ]
    : ['body'];
  if (wrong.length > 0)
    throw new Problem(
      422,
      'VALIDATION_FAILED',
      wrong.map(field => ({ field, message: 'is not as it should be' })),
    );
  return body;
}

const readJson = request =>
  new Promise((resolve, reject) => {
    let body = '';
    request.setEncoding('utf8').on('error', reject);
    request.on('data', chunk => {
      body += chunk;
      if (body.length > 1_000_000) reject(new Problem(413, 'BODY_TOO_LARGE'));
    });
    request.on('end', () => {
      try {
        resolve(JSON.parse(body));
      } catch {
        reject(new Problem(400, 'BODY_MALFORMED'));
      }
    });
  });

async function getPerson(request, id) {
  const claims = authenticate(request);
  if (!UUID.test(id ?? claims.sub)) throw notFound();
  const [person] = await query('find', [claims.cid, id ?? claims.sub]);
  if (!person) throw new Problem(404, 'USERS_NOT_FOUND');
  return [200, person];
}

const whole = (value, most) => (/^\d{1,5}$/.test(value) && value >= 1 && value <= most ? Number(value) : undefined);

async function listPeople(request, search) {
  const claims = authenticate(request);
  const params = new URLSearchParams(search);
  const page = whole(params.get('page') ?? '1', 10_000);
  const pageSize = whole(params.get('pageSize') ?? '20', 100);
  if (!page || !pageSize || page * pageSize > 10_000)
    throw new Problem(422, 'VALIDATION_FAILED', [{ field: 'page', message: 'is none' }]);
  const found = await query('list', [claims.cid, pageSize, (page - 1) * pageSize]);
  const counted = found.length > 0 ? found[0].total : (await query('count', [claims.cid]))[0].total;
  for (const row of found) row.total = undefined;
  const total = Math.min(counted, 10_000);
  return [200, { rows: found, total, totalIsExact: counted <= 10_000, page, pageSize, totalPages: Math.ceil(total / pageSize) }];
}

function sealLink(token, binding) {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(sealKey, 'base64url'), nonce).setAAD(
    Buffer.from(JSON.stringify(binding)),
  );
  return `${sealId}.${Buffer.concat([nonce, cipher.update(token, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64url')}`;
}

const sha256 = value => createHash('sha256').update(value).digest();

async function createPerson(request) {
  const { sub, cid, role } = authenticate(request);
  if (role !== 'ADMIN') throw new Problem(403, 'FORBIDDEN');
  const body = check(await readJson(request), SHAPES.person);
  const defaults = body.timeZone && body.locale ? body : (await query('company', [cid]))[0];
  const {
    firstName,
    lastName,
    email,
    timeZone = defaults.timeZone,
    locale = defaults.locale,
    startsOn = null,
    phone = null,
  } = body;
  const id = uuidv7();
  const now = new Date();
  const at = now.toISOString();
  const known = { id, firstName, lastName, email, role: body.role, status: 'INVITED' };
  const more = { pictureUrl: null, phone, timeZone, locale, startsOn };
  const person = { ...known, teams: [], ...more, createdAt: at, updatedAt: at, version: 1 };
  const token = randomBytes(32).toString('base64url');
  const expiresAt = new Date(now.getTime() + INVITE_MS).toISOString();
  const invite = { sealed: sealLink(token, [id, 'INVITE', email]), expiresAt };
  const eventId = uuidv7();
  const requestid = randomUUID();
  const envelope = {
    specversion: '1.0',
    id: eventId,
    source: '/users',
    type: 'users.create',
    time: at,
    datacontenttype: 'application/json',
    dataschema: 'urn:hiver:users.create:1',
    requestid,
    subject: id,
    companyid: cid,
    version: 1,
    data: { ...known, companyId: cid, teamIds: [], ...more, version: 1, invite },
  };
  const user = [id, cid, firstName, lastName, email, body.role, timeZone, locale, startsOn, phone, at];
  const event = [sha256(token), expiresAt, eventId, JSON.stringify(envelope)];
  const audit = [uuidv7(), sub, JSON.stringify(person), requestid];
  await query('create', [...user, ...event, ...audit]).catch(error => {
    throw error.constraint === 'users_company_email_key' ? new Problem(409, 'USERS_EMAIL_TAKEN') : error;
  });
  return [201, person, undefined, { location: `/users/${id}` }];
}

let secret;

async function login(request) {
  const { email, password, device = null } = check(await readJson(request), SHAPES.login);
  const subjects = [sha256(`account:${email.toLowerCase()}`), sha256(`address:${request.socket.remoteAddress}`)];
  const throttle = [subjects, [10, 300]];
  const [{ isThrottled }] = await query('throttled', throttle);
  if (isThrottled) throw new Problem(429, 'TOO_MANY_REQUESTS');
  secret ??= (await query('secret', []))[0].secret;
  const salt = createHash('sha256').update(secret).update(email.toLowerCase()).digest().subarray(0, 16);
  const passwordHash = await hash(password.normalize('NFKC'), { ...ARGON2, salt });
  const [account] = await query('account', [email, passwordHash]);
  if (!account) {
    await query('failure', [subjects]);
    throw new Problem(401, 'AUTH_INVALID_CREDENTIALS');
  }
  const { companyId, userId } = account;
  const sid = uuidv7();
  const refreshToken = randomBytes(32).toString('base64url');
  const [user] = await query('session', [...throttle, sid, companyId, userId, device, sha256(refreshToken)]);
  if (!user) throw new Problem(401, 'AUTH_INVALID_CREDENTIALS');
  const claims = { sub: userId, cid: companyId, role: user.role, sid };
  const options = { ...issuer, algorithm: 'ES256', keyid: kid, expiresIn: TOKEN_SECONDS, noTimestamp: true };
  return [
    200,
    { user, accessToken: jwt.sign(claims, privateKey, options), refreshToken, tokenType: 'Bearer', expiresIn: TOKEN_SECONDS },
  ];
}

function route(request) {
  const { method, url } = request;
  const at = url.indexOf('?');
  const path = at < 0 ? url : url.slice(0, at);
  if (method === 'GET' && path === '/users/me') return getPerson(request);
  if (method === 'GET' && path === '/users') return listPeople(request, at < 0 ? '' : url.slice(at));
  if (method === 'GET' && path.startsWith('/users/')) return getPerson(request, path.slice(7));
  if (method === 'POST' && path === '/users') return createPerson(request);
  if (method === 'POST' && path === '/auth/login') return login(request);
  if (method === 'GET' && path === '/health/ready') return [200, {}];
  throw notFound();
}

async function answer(request) {
  try {
    return await route(request);
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    return error instanceof Problem ? error.answer : new Problem(500, 'INTERNAL_ERROR').answer;
  }
}

const server = http.createServer(async (request, response) => {
  const [status, value, type = 'application/json; charset=utf-8', headers] = await answer(request);
  const data = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { 'content-type': type, 'content-length': data.length, ...headers });
  response.end(data);
});
server.listen(Number(PORT), HOST);
process.once('SIGTERM', () => process.exit(0));
