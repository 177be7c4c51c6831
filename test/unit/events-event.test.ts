import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { commonProblems } from '../../mixins/errors';
import { envelopeHead } from '../../mixins/events/envelope';
import { event } from '../../mixins/events/event';
import { describeError } from '../../mixins/events/failures';
import { isUnknownPerson, unknownPerson } from '../../mixins/events/reaction';

const State = z.object({ id: z.string(), companyId: z.string(), version: z.int(), name: z.string() });

describe('event', () => {
  it('finds key, company and version of a state in its data', () => {
    const changed = event('things.update', { kind: 'state', data: State });
    const data = { id: 'a', companyId: 'b', version: 3, name: 'c' };
    expect([changed.keyOf(data), changed.subjectOf(data), changed.companyOf(data), changed.versionOf(data)]).toEqual([
      'a',
      'a',
      'b',
      3,
    ]);
    expect(changed.schemaVersion).toBe(1);
  });

  it('lets a fact say where they are', () => {
    const data = z.object({ who: z.string(), where: z.string() });
    const fact = event('things.seen', {
      kind: 'fact',
      data,
      schemaVersion: 2,
      key: ({ who }) => who,
      subject: ({ where }) => where,
      company: () => 'c',
      version: () => 0,
    });
    const seen = { who: 'a', where: 'b' };
    expect([fact.keyOf(seen), fact.subjectOf(seen), fact.companyOf(seen), fact.versionOf(seen)]).toEqual(['a', 'b', 'c', 0]);
    expect(envelopeHead(fact, 'things', undefined).dataschema).toBe('urn:hiver:things.seen:2');
  });
});

describe('the head of an envelope', () => {
  const contract = { topic: 'things.update', schemaVersion: 1 };
  const withHeaders = (headers: object) => ({ headers, requestID: null }) as never;

  it('takes over a traceparent as W3C Trace Context has it, and nothing else', () => {
    const good = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    expect(envelopeHead(contract, 'things', withHeaders({ traceparent: good }))).toMatchObject({ traceparent: good });
    for (const traceparent of [`${good}\n`, 'x'.repeat(10_000), 7, undefined]) {
      expect(envelopeHead(contract, 'things', withHeaders({ traceparent }))).not.toHaveProperty('traceparent');
    }
  });

  it('says only what it knows', () => {
    expect(Object.keys(envelopeHead(contract, 'things', withHeaders({})))).toEqual([
      'specversion',
      'id',
      'source',
      'type',
      'time',
      'datacontenttype',
      'dataschema',
    ]);
    expect(envelopeHead(contract, 'things', undefined, { republished: true, requestid: 'r', time: 't' })).toMatchObject({
      republished: true,
      requestid: 'r',
      time: 't',
    });
  });
});

describe('what went wrong', () => {
  it('is told in one bounded line, with the fields at fault', () => {
    const errors = [
      { field: 'data.name', message: 'must be a text' },
      { field: null, message: 'is odd' },
    ];
    expect(describeError(commonProblems.VALIDATION_FAILED({ errors }))).toMatch(
      / \| data\.name: must be a text \| null: is odd$/,
    );
    expect(describeError(new Error('x'.repeat(5_000)))).toHaveLength(2_000);
    expect(describeError('no error at all')).toBe('no error at all');
  });

  it('tells somebody unknown from every other error', () => {
    expect(isUnknownPerson(unknownPerson('a'))).toBe(true);
    expect(isUnknownPerson(new Error('a'))).toBe(false);
  });
});
