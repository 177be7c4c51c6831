import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Service, ServiceSchema, ServiceSettingSchema } from 'moleculer';
import ApiGateway from 'moleculer-web';
import { authenticatorOf } from '../../mixins/auth/authenticator';
import { configOf } from '../../mixins/config';
import { action } from '../../mixins/contract';
import { commonProblems, isProblem } from '../../mixins/errors';
import { metricsOf } from '../../mixins/metrics/metrics';
import { admit } from './admission';
import { answerableFor, sendAnswer, sendProblem } from './answer';
import { checkLiveness, checkReadiness } from './api.contract';
import { drain } from './body';
import { type Client, clientReader } from './client-address';
import { allowOrigin, answerOptions, originsOf } from './cors';
import { docsRoutes } from './docs';
import { type ApiRequest, labelsOf, lineOf } from './exchange';
import { HSTS, requestIdOf, SECURITY_HEADERS } from './headers';
import { databaseStates } from './health';
import { localRoutes, type Route, RouteIndex } from './routes';
import { createApiServer, SERVER_LIMITS, type ServerLimits } from './server';
import { beginTrace, endTrace, headersOf, traceIdOf } from './trace';

interface Methods {
  httpHandler(req: ApiRequest, res: ServerResponse): Promise<void>;
  parseQueryString(req: ApiRequest): { url: string; query: string };
  aliasHandler(req: ApiRequest, res: ServerResponse, route: Route): Promise<void>;
  sendResponse(req: ApiRequest, res: ServerResponse, data: unknown): void;
  sendError(req: ApiRequest, res: ServerResponse, error: unknown): void;
  begin(req: ApiRequest, res: ServerResponse): void;
  logExchange(req: ApiRequest, res: ServerResponse, startedAt: number): void;
  /** What this node publishes beside its documentation. */
  listRoutes(): Route[];
  updateRoutes(): void;
}

interface Vars {
  server: Server;
  closeServer(): Promise<void>;
  index: RouteIndex;
  origins: ReadonlySet<string>;
  clientOf: (req: IncomingMessage) => Client;
  /** Everything has started once. Whatever arrives until the server is closed is served, also while the node stops. */
  isServing: boolean;
  isShuttingDown: boolean;
}

/** What moleculer-web gives us; the rest of it is replaced below. */
interface Gateway {
  routes: readonly object[];
  actions: { rest(params: object, options: object): Promise<unknown> };
  regenerateAllAutoAliases(): void;
}

interface Settings extends ServiceSettingSchema {
  port?: number;
  ip?: string;
  limits: ServerLimits;
  [setting: string]: unknown;
}

type Api = Service<Settings> & Methods & Vars & Gateway;

/**
 * Publishes the actions of this node over HTTP (`gateway.ts`: of all nodes), on moleculer-web: its server and routing of
 * calls; reading, answering and refusing requests are ours.
 */
const ApiService: ServiceSchema<Settings, Methods, Vars, Api> = {
  name: 'api',
  metadata: { description: 'Health of a node, and this description.' },
  mixins: [ApiGateway as unknown as Partial<ServiceSchema>],

  settings: {
    limits: SERVER_LIMITS,
    optimizeOrder: false,
    logRouteRegistration: null,
    routes: [
      {
        path: '/',
        mappingPolicy: 'restrict',
        bodyParsers: false,
        mergeParams: false,
        logging: false,
      },
    ],
  },

  actions: {
    rest: { auth: 'internal' },
    listAliases: false,
    addRoute: false,
    removeRoute: false,

    live: action(checkLiveness, {
      summary: 'Tell that the process answers',
      rest: { method: 'GET', fullPath: '/health/live' },
      auth: 'public',
      handler: () => ({ status: 'ok' as const }),
    }),

    ready: action<typeof checkReadiness.params, typeof checkReadiness.returns, 'public', Api>(checkReadiness, {
      summary: 'Tell whether requests can be served',
      description: 'With 503, `databases` says which one cannot be reached.',
      rest: { method: 'GET', fullPath: '/health/ready' },
      auth: 'public',
      async handler() {
        const databases = await databaseStates(this.broker);
        const isReady = this.broker.started && !Object.values(databases).includes('down');
        if (!isReady) throw commonProblems.UNAVAILABLE({ members: { databases } });
        return { status: 'ok' as const, databases };
      },
    }),
  },

  methods: {
    /** Overridden: the server is ours. */
    createServer(this: Api) {
      const onRefusal = (refusal: object) => this.logger.info(refusal, 'A request could not be parsed');
      const { server, close } = createApiServer(this.httpHandler as never, this.settings.limits, onRefusal);
      Object.assign(this, { server, closeServer: close });
    },

    /** Overridden: everything that every request needs, and the only place where errors become answers. */
    async httpHandler(req, res) {
      const startedAt = performance.now();
      res.once('close', () => this.logExchange(req, res, startedAt));
      this.begin(req, res);
      try {
        if (req.headers.host === undefined) throw commonProblems.REQUEST_MALFORMED({ detail: 'Host is missing.' });
        if (req.method === 'OPTIONS') {
          const path = this.parseQueryString(req).url.replace(/(.)\/$/, '$1');
          return answerOptions(req, res, this.index.allowed(path) ?? notFound());
        }
        await this.actions.rest({ req, res }, { requestID: req.requestId, headers: headersOf(req) });
      } catch (error) {
        this.sendError(req, res, error);
      }
    },

    begin(req, res) {
      req.requestId = requestIdOf(req);
      res.setHeader('X-Request-Id', req.requestId);
      for (const [name, value] of SECURITY_HEADERS) res.setHeader(name, value);
      req.client = this.clientOf(req);
      beginTrace(this.broker, req);
      if (req.client.isSecure) res.setHeader('Strict-Transport-Security', HSTS);
      allowOrigin(this.origins, req, res);
    },

    /** Overridden: the query stays raw until its route is known. */
    parseQueryString(req) {
      const target = req.url.startsWith('/') ? req.url : originForm(req.url);
      const at = target.indexOf('?');
      return at === -1 ? { url: target, query: '' } : { url: target.slice(0, at), query: target.slice(at + 1) };
    },

    /** Overridden: found by index, and never silently not. */
    resolveAlias(this: Api, path: string, method: string) {
      const found = this.index.find(path);
      if (!this.isServing && !(found && path.startsWith('/health/'))) throw commonProblems.UNAVAILABLE();
      if (!found) throw commonProblems.NOT_FOUND();
      const route = found.methods.get(method === 'HEAD' ? 'GET' : method);
      if (!route) throw commonProblems.METHOD_NOT_ALLOWED();
      return { alias: route, params: found.params };
    },

    /**
     * Overridden: who answers is looked for when the request is complete and allowed. Until then its node may come or go,
     * and a request that is wrong is refused the same where it is away.
     */
    async aliasHandler(req, res, route) {
      if (!route.action) return route.handler?.(req, res);
      const { $ctx: ctx, client } = req;
      ctx.meta.clientAddress = client.address;
      await admit(req, res, route, authenticatorOf(this.broker));
      this.sendResponse(req, res, await ctx.call(route.action, req.$params, { nodeID: route.nodeId }));
    },

    /** Overridden: statuses and headers as the action's HTTP facts say. */
    sendResponse(req, res, data) {
      if (this.isShuttingDown) res.setHeader('Connection', 'close');
      if (req.$alias) sendAnswer(res, req.$alias, req.$ctx.meta, data);
    },

    /** Overridden: problem documents; what nobody foresaw is logged and says nothing of the inside. */
    sendError(req, res, error) {
      const answer = answerableFor(req, error);
      if (answer.cause) {
        const log = answer.isBug ? this.logger.error : this.logger.warn;
        const request = { requestId: req.requestId, traceId: traceIdOf(req), route: req.$alias?.toString() };
        log({ err: answer.cause, ...request }, `Answered ${answer.status}`);
      }
      if (res.headersSent || res.destroyed) return;
      if (isProblem(error, commonProblems.METHOD_NOT_ALLOWED)) res.setHeader('Allow', this.index.allowed(req.parsedUrl) ?? '');
      if (this.isShuttingDown) res.setHeader('Connection', 'close');
      sendProblem(req, res, answer);
      drain(req);
    },

    logExchange(req, res, startedAt) {
      const ms = performance.now() - startedAt;
      endTrace(req, res);
      metricsOf(this.broker)?.observeRequest(labelsOf(req, res), ms / 1_000);
      // Probes come every second from several sides.
      const log = req.$alias?.pattern.startsWith('/health/') ? this.logger.debug : this.logger.info;
      log(lineOf(req, res, ms), 'request');
    },

    listRoutes() {
      return localRoutes(this.broker);
    },

    updateRoutes() {
      const [gateway] = this.routes;
      const aliases = [...docsRoutes(), ...this.listRoutes()].map(route => ({ ...route, route: gateway }));
      this.index = new RouteIndex(aliases);
    },
  },

  created() {
    const { host, port, corsOrigins, trustedProxies } = configOf(this.broker);
    this.settings.ip = host;
    this.settings.port = port;
    this.origins = originsOf(corsOrigins);
    this.clientOf = clientReader(trustedProxies);
    this.isServing = this.broker.started;
    this.broker.localBus.once('$broker.started', () => {
      this.isServing = true;
    });
    this.isShuttingDown = false;
    this.updateRoutes();
    // moleculer-web waits half a second after `$services.changed`; a service that is there is served at once.
    this.regenerateAllAutoAliases = () => this.updateRoutes();
  },

  async stopped() {
    this.isShuttingDown = true;
    await this.closeServer();
  },
};

export default ApiService;

function notFound(): never {
  throw commonProblems.NOT_FOUND();
}

/** The path of `GET http://host/path`, which servers must take (RFC 9112, section 3.2.2). */
function originForm(target: string): string {
  if (!URL.canParse(target)) return target;
  const { pathname, search } = new URL(target);
  return pathname + search;
}
