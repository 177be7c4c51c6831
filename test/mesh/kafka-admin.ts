import { type Admin, Kafka, logLevel } from 'kafkajs';
import { TEST_BROKERS } from '../kafka/environment';

/** A client beside the one that is tested. */
export function plainClient(): Kafka {
  const brokers = (process.env[TEST_BROKERS] ?? '').split(',');
  return new Kafka({ clientId: 'test', brokers, logLevel: logLevel.NOTHING, retry: { initialRetryTime: 100, retries: 5 } });
}

export async function asAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = plainClient().admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}
