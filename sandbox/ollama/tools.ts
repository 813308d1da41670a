import { digestOf } from './models.ts';
import { type Fields, fieldsOf } from './native.ts';

export interface ToolCall {
  id: string;
  name: string;
  arguments: Fields;
}

/** A value that the schema of one parameter allows; texts are the prompt's last word. */
function valueFor(schema: Fields | undefined, prompt: string): unknown {
  if (Array.isArray(schema?.enum)) return schema.enum[0];
  switch (schema?.type) {
    case 'integer':
    case 'number':
      return 7;
    case 'boolean':
      return true;
    case 'array':
      return [];
    case 'object':
      return argumentsFor(schema, prompt);
    default:
      return /(\w+)\W*$/.exec(prompt)?.[1] ?? 'nothing';
  }
}

function argumentsFor(schema: Fields | undefined, prompt: string): Fields {
  const properties = fieldsOf(schema?.properties) ?? {};
  const wanted = Array.isArray(schema?.required) ? schema.required.map(String) : Object.keys(properties);
  return Object.fromEntries(wanted.map((name) => [name, valueFor(fieldsOf(properties[name]), prompt)]));
}

/**
 * The call that the model makes of the tools it was given: of the one that the prompt names, else of the first.
 * Undefined where there are none, they are forbidden, or the last message is a tool's result. Takes the tools of every
 * dialect: `function` around them or not, `parameters` or `input_schema`.
 */
export function chooseToolCall(
  body: Fields,
  prompt: string,
  lastIsResult: boolean,
  prefix = 'call_',
): ToolCall | undefined {
  const choice = body.tool_choice;
  if (choice === 'none' || fieldsOf(choice)?.type === 'none' || lastIsResult || !Array.isArray(body.tools))
    return undefined;
  const tools = body.tools.map((tool) => fieldsOf(fieldsOf(tool)?.function) ?? fieldsOf(tool) ?? {});
  const tool = tools.find(({ name }) => prompt.includes(String(name))) ?? tools[0];
  if (tool === undefined) return undefined;
  const name = String(tool.name);
  const schema = fieldsOf(tool.parameters) ?? fieldsOf(tool.input_schema);
  const id = prefix + digestOf(`${name}\n${prompt}`).slice(0, 24);
  return { id, name, arguments: argumentsFor(schema, prompt) };
}

/** A text in two pieces, as arguments are streamed. */
export function inPieces(text: string): string[] {
  const middle = Math.ceil(text.length / 2);
  return [text.slice(0, middle), text.slice(middle)].filter((piece) => piece !== '');
}
