import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod';
import { envsubst, type Variables } from './envsubst.ts';

const text = z.string();
/** An empty YAML value (`secrets:` and nothing) is as good as an absent one. */
const orAbsent = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === '' || value === null ? undefined : value), schema.optional());
const textMap = orAbsent(z.record(text, text));
const textList = orAbsent(z.array(text));
const functionName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'is no function name')
  .max(63);

/** The stack file's schema, made twice: unknown keys are dropped at run time as faas-cli does, refused in our own file. */
function stackSchema(object: typeof z.object) {
  const resources = orAbsent(object({ memory: orAbsent(text), cpu: orAbsent(text) }));
  const stackFunction = object({
    lang: text,
    handler: text,
    image: text,
    namespace: orAbsent(text),
    skip_build: orAbsent(text),
    fprocess: orAbsent(text),
    environment: textMap,
    environment_file: textList,
    secrets: textList,
    labels: textMap,
    annotations: textMap,
    constraints: textList,
    limits: resources,
    requests: resources,
    readonly_root_filesystem: orAbsent(z.enum(['true', 'false'])),
    build_args: textMap,
    build_options: textList,
    build_secrets: textMap,
    platforms: orAbsent(text),
  });
  const template = object({ name: text, source: orAbsent(text) });
  return object({
    version: orAbsent(z.literal('1.0')),
    provider: object({ name: z.literal('openfaas'), gateway: orAbsent(text) }),
    functions: z.record(functionName, stackFunction),
    configuration: orAbsent(object({ templates: orAbsent(z.array(template)), copy: textList })),
  });
}

const lenient = stackSchema(z.object);
const strict = stackSchema(z.strictObject as unknown as typeof z.object);
const environmentFile = z.object({ environment: textMap });

export interface StackFunction {
  name: string;
  image: string;
  /** The folder of the function, absolute. */
  folder: string;
  /** `environment` with every `environment_file` laid over it, the last one on top. */
  environment: Record<string, string>;
  secrets: string[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  limits: { memory?: string | undefined; cpu?: string | undefined };
  requests: { memory?: string | undefined; cpu?: string | undefined };
  readOnlyRootFilesystem: boolean;
}

export interface Stack {
  file: string;
  functions: StackFunction[];
}

/** Scalars stay as they are written (`yes`, `1.10`), since every value of a stack file ends as a string. */
const readYaml = (source: string): unknown => parse(source, { schema: 'failsafe', merge: true });

/** The stack file of a folder: stack.yaml, then stack.yml, as faas-cli looks for them; else stack.sample.yml. */
export function findStackFile(folder: string): string {
  const names = ['stack.yaml', 'stack.yml', 'stack.sample.yml'];
  const found = names.map((name) => join(folder, name)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${folder} has none of ${names.join(', ')}`);
  return found;
}

/**
 * Reads a stack file as faas-cli does: variables first, then YAML. Paths are taken from the file's folder. With `strict`
 * an unknown key throws (faas-cli drops it without a word). Throws with the file's name and every problem.
 */
export function readStack(file: string, variables: Variables, options: { strict?: boolean } = {}): Stack {
  const folder = dirname(resolve(file));
  const readFile = <Schema extends z.ZodType>(path: string, schema: Schema, source: string): z.infer<Schema> => {
    try {
      const parsed = schema.safeParse(readYaml(source));
      if (parsed.success) return parsed.data;
      throw new Error(z.prettifyError(parsed.error));
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`);
    }
  };
  const expand = (source: string) => {
    try {
      return envsubst(source, variables);
    } catch (error) {
      throw new Error(`${file}: ${(error as Error).message}`);
    }
  };
  const source = expand(readFileSync(file, 'utf8'));
  const stack = readFile(file, options.strict ? strict : lenient, source);

  const functions = Object.entries(stack.functions).map(([name, spec]): StackFunction => {
    const environment = { ...spec.environment };
    for (const path of spec.environment_file ?? []) {
      const found = readFile(path, environmentFile, readFileSync(resolve(folder, path), 'utf8'));
      Object.assign(environment, found.environment);
    }
    return {
      name,
      image: spec.image,
      folder: resolve(folder, spec.handler),
      environment,
      secrets: spec.secrets ?? [],
      labels: spec.labels ?? {},
      annotations: spec.annotations ?? {},
      limits: spec.limits ?? {},
      requests: spec.requests ?? {},
      readOnlyRootFilesystem: spec.readonly_root_filesystem === 'true',
    };
  });
  return { file, functions };
}
