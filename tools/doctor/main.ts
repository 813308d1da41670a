import { parseArgs } from 'node:util';
import { scheduleOf } from '../gateway/cron.ts';
import { findStackFile, readStack } from '../stack/stack.ts';
import { examine, type Finding } from './examine.ts';

const usage = `npm run doctor -- URL [--key KEY] [--seconds 65] [-f FILE] [--json]
  URL         a gateway (http://127.0.0.1:8080): every function of the stack file is examined;
              or one function (https://llm.example.com/function/completion-proxy, https://spend.example.com with --alone)
  --key       a key of the function (else the environment's FUNCTION_API_KEY)
  --seconds   how long an answer may take on this way; 65 by default
  --alone     URL is one function, without OpenFaaS before it
  -f, --file  the stack file`;

const { values, positionals } = parseArgs({
  options: {
    key: { type: 'string' },
    seconds: { type: 'string', default: '65' },
    file: { type: 'string', short: 'f' },
    alone: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const url = positionals[0]?.replace(/\/+$/, '');
const wantedSeconds = Number(values.seconds);
if (
  url === undefined ||
  !/^https?:$/.test(URL.parse(url)?.protocol ?? '') ||
  !(wantedSeconds >= 0 && wantedSeconds <= 1_200)
) {
  console.error(usage);
  process.exit(2);
}

const stack = readStack(values.file ?? findStackFile(process.cwd()), process.env);
const isOne = values.alone || url.includes('/function/');
const patients = isOne
  ? [{ name: url.split('/function/')[1] ?? url, url }]
  : stack.functions.map(({ name }) => ({ name, url: `${url}/function/${name}` }));
// A line `name:key`, as the secret has them, or the key alone.
const given = values.key ?? process.env.FUNCTION_API_KEY;
const key = given?.split('\n', 1)[0]?.replace(/^[^:]*:/, '');

const reports = await Promise.all(
  patients.map(async ({ name, url: at }) => {
    const spec = stack.functions.find((each) => each.name === name);
    return { name, findings: await examine({ url: at, key, schedule: spec && scheduleOf(spec), wantedSeconds }) };
  }),
);
const mark: Record<Finding['result'], string> = { ok: 'ok     ', failed: 'FAILED ', unknown: 'unknown' };
if (values.json) console.log(JSON.stringify(reports));
else {
  for (const { name, findings } of reports) {
    console.log(name);
    for (const { check, result, sentence } of findings) {
      console.log(`  ${mark[result]} ${check.padEnd(9)}  ${sentence}`);
    }
  }
}
process.exit(reports.some(({ findings }) => findings.some(({ result }) => result === 'failed')) ? 1 : 0);
