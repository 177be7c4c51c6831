import { startApp } from '../helpers/app';
import { describeSweep } from '../helpers/sweep-suite';

describeSweep(() => startApp());
