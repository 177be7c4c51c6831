import type { CommandContext } from '../contract';
import type { Transaction } from '../db/transaction';

export function idempotent<T>(_ctx: CommandContext, tx: Transaction, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return work(tx);
}
