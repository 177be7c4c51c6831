import { scripts } from '../package.json';

/** What `npm run start:production` gives to node, from the project's folder. */
export const PROGRAM = /\bnode (.+)$/.exec(scripts['start:production'])?.[1]?.split(' ') ?? [];
