import { operators } from '../../mixins/operators/operators.mixin';
import { ownedByUsers } from './aggregates';

export default operators('users', { owns: ownedByUsers });
