import create from './function/index.ts';
import { serve } from './server.ts';

// build.mjs puts a function's own entry in place of the one above; the type check of the image build reads this file.
serve(create);
