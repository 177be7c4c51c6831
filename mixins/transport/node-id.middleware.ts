import type { Middleware, ServiceBroker } from 'moleculer';

interface Info {
  sender: string;
  instanceID?: string;
  metadata?: { startedAt?: number };
  services?: unknown[];
}
interface Packet {
  type: string;
  payload: Info;
}
type Publish = (packet: Packet) => Promise<void>;
type Handle = (kind: string, packet: Packet) => Promise<unknown>;

/** What a node tells of itself with its services, for `oneOfAName`. */
export const nodeMetadata = () => ({ startedAt: Date.now() });

/**
 * Two processes with one node id would each get a part of what is meant for the other. The one that started later ends,
 * with an error; the other goes on. Moleculer would end the older one, and its supervisor would start it again to end the
 * newer one.
 */
export function oneOfAName(): Middleware {
  let broker: ServiceBroker;
  let connected: Promise<unknown>;

  /** Whether the other process of this name was there before; clocks that are apart still choose one of the two. */
  const isElder = ({ metadata, instanceID = '' }: Info): boolean => {
    const [theirs, ours] = [metadata?.startedAt ?? 0, broker.metadata.startedAt as number];
    return theirs === ours ? instanceID < broker.instanceID : theirs < ours;
  };

  const answerTwin = async (): Promise<void> => {
    if (broker.started && !broker.stopping) await broker.transit?.sendNodeInfo(broker.getLocalNodeInfo(), broker.nodeID);
  };

  const meetTwin = (kind: string, twin: Info): void => {
    if (kind === 'DISCOVER') return void answerTwin();
    // One that is stopping says that it has no services left.
    if (kind !== 'INFO' || !twin.services?.length) return;
    if (!isElder(twin)) return void answerTwin();
    const message = `Another process is running with the node id ${broker.nodeID}. Give each its own NODE_ID`;
    broker.fatal(message, undefined, true);
  };

  const middleware = {
    name: 'OneOfAName',

    created(created: ServiceBroker) {
      broker = created;
      connected = new Promise(resolve => broker.localBus.once('$transporter.connected', resolve));
    },

    transitPublish(next: Publish): Publish {
      return packet => {
        if (packet.type === 'DISCOVER') packet.payload.instanceID = broker.instanceID;
        return next(packet);
      };
    },

    transitMessageHandler(next: Handle): Handle {
      return async (kind, packet) => {
        const { sender, instanceID } = packet.payload;
        if (sender === broker.nodeID && instanceID !== undefined) {
          if (instanceID !== broker.instanceID) meetTwin(kind, packet.payload);
          return false;
        }
        // Until it is clear that the name is free a request may be another process's to answer.
        if (kind === 'REQ' || kind === 'EVENT') await connected;
        return next(kind, packet);
      };
    },
  };
  return middleware as unknown as Middleware;
}
