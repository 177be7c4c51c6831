import { describe, expect, it } from 'vitest';
import { replicasOf } from '../../scripts/mesh/options';

describe('npm run mesh', () => {
  it('has one node for each domain unless told', () => {
    expect(replicasOf([])).toEqual({});
  });

  it.each([['--replicas', 'presence=2,leave-requests=3'], ['--replicas=presence=2,leave-requests=3']])(
    'takes %s %s',
    (...args) => {
      expect(replicasOf(args)).toEqual({ presence: 2, 'leave-requests': 3 });
    },
  );

  it.each([
    [['--replica', 'presence=2'], /^npm run mesh/],
    [['--replicas'], /^npm run mesh/],
    [['--replicas', 'presence=2', 'users=2'], /^npm run mesh/],
    [['--replicas', 'payroll=2'], /payroll=2: domains are users, presence/],
    [['--replicas', 'presence'], /presence: domains are/],
    [['--replicas', 'presence=0'], /1 to 5/],
    [['--replicas', 'presence=9'], /1 to 5/],
  ])('refuses %j with what it takes', (args, message) => {
    expect(() => replicasOf(args)).toThrow(message);
  });
});
