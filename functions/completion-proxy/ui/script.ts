import { around } from './around.ts';
import { content } from './content.ts';
import { detail } from './detail.ts';
import { now } from './now.ts';
import { past } from './past.ts';
import { words } from './words.ts';

/**
 * The page at work. What comes from outside (models, callers, prompts) becomes text nodes alone, never markup; every
 * address is made from the page's own, so that it works below any prefix; at most 200 rows are held.
 */
export const script = `(() => {
'use strict';
const $ = (id) => document.getElementById(id);
const main = document.querySelector('main');
const dialog = $('call');
const form = $('filters');
const admin = main.dataset.admin === 'true';
const keeps = main.dataset.history === 'true';
// Not location.href: an address with a password in it is none that fetch takes.
const base = location.origin + location.pathname.replace(/ui\\/?$/, '');
${words}${content}${detail}${now}${past}${around}
})();`.replace(/^ +/gm, ''); // What indents it is for us; no text of it spans lines.
