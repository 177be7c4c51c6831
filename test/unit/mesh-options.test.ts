import { describe, expect, it } from 'vitest';
import { meshArguments } from '../../scripts/mesh/options';

describe('npm run mesh', () => {
  it('has one node for each domain on the usual ports unless told', () => {
    expect(meshArguments([])).toEqual({ replicas: {}, anyPorts: false });
  });

  it.each([['--replicas', 'presence=2,leave-requests=3'], ['--replicas=presence=2,leave-requests=3']])(
    'takes %s %s',
    (...args) => {
      expect(meshArguments(args)).toEqual({ replicas: { presence: 2, 'leave-requests': 3 }, anyPorts: false });
    },
  );

  it('takes any ports', () => {
    expect(meshArguments(['--any-ports'])).toEqual({ replicas: {}, anyPorts: true });
  });

  it.each([
    [['--replica', 'presence=2'], /'--replica'.*\nnpm run mesh/s],
    [['--replicas'], /argument missing.*\nnpm run mesh/s],
    [['--replicas', 'presence=2', 'users=2'], /\nnpm run mesh/],
    [['--replicas', 'payroll=2'], /payroll=2: domains are users, presence/],
    [['--replicas', 'presence'], /presence: domains are/],
    [['--replicas', 'presence=0'], /1 to 5/],
    [['--replicas', 'presence=9'], /1 to 5/],
  ])('refuses %j with what it takes', (args, message) => {
    expect(() => meshArguments(args)).toThrow(message);
  });
});
