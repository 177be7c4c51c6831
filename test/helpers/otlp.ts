import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach } from 'vitest';
import type { TracingConfig } from '../../mixins/tracing/config';
import { until } from './until';

export interface CollectedSpan {
  name: string;
  traceId: string;
  spanId: string;
  /** '' at the root. */
  parentSpanId: string;
  kind: string;
  attributes: Record<string, unknown>;
  isError: boolean;
  service: string;
}

/** What takes traces in, as a collector does: OTLP over HTTP, in protobuf. */
export interface Collector {
  url: string;
  spans: CollectedSpan[];
  /** Requests as they came. */
  received: { path: string; type: string; headers: NodeJS.Dict<string | string[]>; bytes: Buffer }[];
  /** Of its answers; 0 for none at all. */
  status: number;
  /** Requests without an answer. */
  open: number;
  /** Waits for a span, by what it has to be. */
  span(wanted: Partial<CollectedSpan>): Promise<CollectedSpan>;
}

const closes: (() => void)[] = [];

afterEach(() => {
  for (const close of closes.splice(0)) close();
});

/** Starts a collector that lives as long as the test. */
export async function startCollector(status = 200): Promise<Collector> {
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', chunk => chunks.push(chunk));
    req.on('end', () => take(req.url ?? '', req.headers, Buffer.concat(chunks), res));
  });
  const take = (path: string, headers: NodeJS.Dict<string | string[]>, bytes: Buffer, res: ServerResponse) => {
    collector.received.push({ path, type: String(headers['content-type']), headers, bytes });
    collector.spans.push(...spansOf(bytes));
    if (collector.status > 0) return void res.writeHead(collector.status, { 'Content-Type': 'application/x-protobuf' }).end();
    collector.open++;
    res.once('close', () => collector.open--);
  };
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  closes.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
    spans: [],
    received: [],
    status,
    open: 0,
    span: wanted =>
      until(() => collector.spans.find(span => Object.entries(wanted).every(([key, value]) => span[key as never] === value)), {
        timeout: 10_000,
        what: `A span ${JSON.stringify(wanted)}`,
      }),
  };
  return collector;
}

/** A configuration that sends soon. */
export function tracingTo(url: string, overrides: Partial<TracingConfig> = {}): TracingConfig {
  const batch = { delay: 20, exportTimeout: 5_000, queueSize: 2_048, size: 512 };
  return { url, serviceName: 'hiver', sampler: 'parentbased_traceidratio', ratio: 1, batch, ...overrides };
}

type Field = { number: number; value: Buffer | bigint };

/** Fields of a protobuf message; what their numbers mean is in opentelemetry/proto/trace/v1/trace.proto. */
function fieldsOf(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++] as number;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const bytes = (length: number) => {
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = Number(varint());
    const type = tag & 7;
    const value = type === 0 ? varint() : bytes(type === 2 ? Number(varint()) : type === 1 ? 8 : 4);
    fields.push({ number: tag >> 3, value });
  }
  return fields;
}

const all = (message: Buffer, number: number) =>
  fieldsOf(message)
    .filter(field => field.number === number)
    .map(({ value }) => value as Buffer);
const one = (message: Buffer, number: number) => all(message, number)[0] ?? Buffer.alloc(0);

const KINDS = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];

function spansOf(request: Buffer): CollectedSpan[] {
  return all(request, 1).flatMap(resourceSpans => {
    const service = String(attributesOf(one(resourceSpans, 1), 1)['service.name']);
    const spans = all(resourceSpans, 2).flatMap(scopeSpans => all(scopeSpans, 2));
    return spans.map(span => ({
      name: one(span, 5).toString(),
      traceId: one(span, 1).toString('hex'),
      spanId: one(span, 2).toString('hex'),
      parentSpanId: one(span, 4).toString('hex'),
      kind: KINDS[Number(one(span, 6))] ?? '',
      attributes: attributesOf(span, 9),
      isError: all(one(span, 15), 3).some(code => Number(code) === 2),
      service,
    }));
  });
}

function attributesOf(message: Buffer, number: number): Record<string, unknown> {
  return Object.fromEntries(all(message, number).map(pair => [one(pair, 1).toString(), toValue(one(pair, 2))]));
}

/** Strings and whole numbers; the spans have no others. */
function toValue(any: Buffer): unknown {
  const [field] = fieldsOf(any);
  return typeof field?.value === 'bigint' ? Number(field.value) : field?.value.toString();
}
