import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Parameters {
  assignments?: { assignments: { name: string; value: string }[] };
  method?: string;
  url?: string;
  jsonBody?: string;
  genericAuthType?: string;
  responseBody?: string;
}

interface Node {
  name: string;
  type: string;
  parameters: Parameters;
}

interface Workflow {
  nodes: Node[];
  connections: Record<string, { main: { node: string }[][] }>;
}

/** What goes from node to node: one item's JSON. */
type Item = Record<string, unknown>;

export interface SentRequest {
  node: string;
  method: string;
  url: string;
  body: unknown;
  status: number;
}

/** An expression, `={{ ... }}` around JavaScript, with the variables of n8n that our workflows use. */
function evaluate(text: unknown, json: Item, outputs: Map<string, Item>): unknown {
  if (typeof text !== 'string' || !text.startsWith('=')) return text;
  const $ = (name: string) => ({ item: { json: outputs.get(name)! } });
  const run = (code: string) => new Function('$json', '$', `return (${code});`)(json, $) as unknown;
  const whole = /^=\{\{([\s\S]*)\}\}$/.exec(text);
  // Two expressions with text between them would match as one.
  if (whole !== null && !whole[1]!.includes('}} ') && !/\}\}[^}]*\{\{/.test(whole[1]!)) return run(whole[1]!);
  return text.slice(1).replace(/\{\{([\s\S]*?)\}\}/g, (_, code: string) => String(run(code)));
}

/**
 * Runs a workflow of docs/n8n as n8n does, as far as they use it: a trigger, Set, HTTP Request, Respond to Webhook, one
 * after the other. `settings` replace what the node `Settings` has; `key` is the credential of the HTTP nodes.
 */
export async function runWorkflow(
  file: string,
  { trigger, settings, key }: { trigger: Item; settings: Record<string, string>; key: string },
): Promise<{ sent: SentRequest[]; response: unknown }> {
  const path = join(import.meta.dirname, '../../docs/n8n', file);
  const { nodes, connections } = JSON.parse(readFileSync(path, 'utf8')) as Workflow;
  const outputs = new Map<string, Item>();
  const sent: SentRequest[] = [];
  let response: unknown;
  let json: Item = trigger;
  const first = nodes.find(({ type }) => /trigger$|\.webhook$/i.test(type))!;
  for (let node: Node | undefined = first; node !== undefined; ) {
    const { name, parameters }: Node = node;
    const read = (value: unknown) => evaluate(value, json, outputs);
    switch (node.type.replace('n8n-nodes-base.', '')) {
      case 'scheduleTrigger':
      case 'webhook':
        break;
      case 'set': {
        const named = parameters.assignments!.assignments.map((item) => [
          item.name,
          settings[item.name] ?? read(item.value),
        ]);
        json = { ...json, ...Object.fromEntries(named) };
        break;
      }
      case 'httpRequest': {
        const body = read(parameters.jsonBody) as string | undefined;
        const url = read(parameters.url) as string;
        const method = parameters.method!;
        const answer = await fetch(url, {
          method,
          headers: {
            // As n8n sends them; the key only where the node names the credential.
            Accept:
              'application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, image/*;q=0.8, */*;q=0.7',
            ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
            ...(parameters.genericAuthType === 'httpHeaderAuth' ? { 'X-Api-Key': key } : {}),
          },
          ...(body === undefined ? {} : { body }),
        });
        const text = await answer.text();
        sent.push({
          node: name,
          method,
          url,
          body: body === undefined ? undefined : JSON.parse(body),
          status: answer.status,
        });
        if (!answer.ok) throw new Error(`${name}: ${answer.status} ${text}`);
        json = text.startsWith('{') ? (JSON.parse(text) as Item) : { data: text };
        break;
      }
      case 'respondToWebhook':
        response = JSON.parse(read(parameters.responseBody) as string);
        break;
      default:
        throw new Error(`${name}: this test does not know ${node.type}`);
    }
    outputs.set(name, json);
    const next: string | undefined = connections[name]?.main[0]?.[0]?.node;
    node = nodes.find((each) => each.name === next);
  }
  return { sent, response };
}
