import type { PortainerClient, PortainerStack } from '#shared/clients/portainer.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { type FileService, parseStackFile } from './file.ts';

/** The stack files by id and version: a file changes only with its stack's UpdateDate and its variables. */
export function createStackFiles(portainer: Pick<PortainerClient, 'stackFile'>) {
  const known = new Map<string, Promise<FileService[] | undefined>>();

  async function load(stack: PortainerStack, log: Logger): Promise<FileService[] | undefined> {
    try {
      return await parseStackFile(await portainer.stackFile(stack.id), stack.env);
    } catch (error) {
      // Another user's stack, or a file that is gone from the disk: what the containers say has to do.
      if (!(error instanceof UpstreamError) || error.failure !== 'status') throw error;
      log.warn('a stack file cannot be read', { stack_id: stack.id, status: error.status });
      return undefined;
    }
  }

  return {
    read(stack: PortainerStack, log: Logger): Promise<FileService[] | undefined> {
      if (stack.type === 'kubernetes') return Promise.resolve(undefined);
      const key = `${stack.id}:${stack.updatedAt}:${JSON.stringify(stack.env)}`;
      const before = known.get(key);
      if (before !== undefined) return before;
      if (known.size > 1_000) known.clear();
      const loading = load(stack, log);
      known.set(key, loading);
      loading.catch(() => known.delete(key));
      return loading;
    },
  };
}

export type StackFiles = ReturnType<typeof createStackFiles>;
