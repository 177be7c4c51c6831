/** An answer with its body read; `body` is `undefined` when there was none. */
export interface Answer<T = any> {
  status: number;
  headers: Headers;
  body: T;
}

interface RequestOptions {
  token?: string;
  headers?: Record<string, string>;
}

/** What a phone does: JSON over HTTP, with a bearer token. */
export class Client {
  constructor(
    readonly url: string,
    readonly token?: string,
  ) {}

  as(token: string): Client {
    return new Client(this.url, token);
  }

  get = (path: string, options?: RequestOptions) => this.send('GET', path, undefined, options);
  post = (path: string, body: unknown = {}, options?: RequestOptions) => this.send('POST', path, body, options);
  patch = (path: string, body: unknown, options?: RequestOptions) => this.send('PATCH', path, body, options);

  /** Sends a file as text/csv. */
  async csv(path: string, bytes: Uint8Array | string, options: RequestOptions = {}): Promise<Answer> {
    return this.#fetch('POST', path, bytes, { ...options, headers: { 'content-type': 'text/csv', ...options.headers } });
  }

  async send(method: string, path: string, body?: unknown, options: RequestOptions = {}): Promise<Answer> {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const headers = { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers };
    return this.#fetch(method, path, json, { ...options, headers });
  }

  async #fetch(method: string, path: string, body: string | Uint8Array | undefined, options: RequestOptions): Promise<Answer> {
    const token = options.token ?? this.token;
    const response = await fetch(this.url + path, {
      method,
      body: body as RequestInit['body'],
      headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...options.headers },
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text || undefined };
  }
}
