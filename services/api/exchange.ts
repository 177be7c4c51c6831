import type { IncomingMessage } from 'node:http';
import type { Context } from 'moleculer';
import type { Identity, Meta } from '../../mixins/contract';
import type { Client } from './client-address';
import type { Route } from './routes';

/** A request on its way through moleculer-web, which keeps what it knows under `$…`. */
export interface ApiRequest extends IncomingMessage {
  url: string;
  method: string;
  /** Without query and trailing slash. */
  parsedUrl: string;
  /** The raw query, behind the question mark. */
  query: string;
  /** Not there yet when a request is refused before it is looked up. */
  $ctx: Context<unknown, Meta>;
  $alias?: Route;
  /** What the action is called with; until the request is prepared, the path's parameters. */
  $params: Record<string, unknown>;
  requestId: string;
  client: Client;
  identity?: Identity;
  /** Nothing stood between it and its action. */
  isAdmitted?: boolean;
}
