import { containersOf, projectOf, type Stack, type World } from './world.ts';

export type Refusal = [status: number, message: string, details: string];

/** What differs between releases. */
export interface Family {
  version: string;
  /** The refusal of a start, checks in the release's own order; undefined when it may go on. */
  refuseStart(world: World, stack: Stack, endpointId: number): Refusal | undefined;
  refuseStop(stack: Stack): Refusal | undefined;
  refuseUpdate(stack: Stack): Refusal | undefined;
  /** A failed start or stop leaves status 4 and its message; before, it left the status alone. */
  keepsErrors: boolean;
  /** Updates answer at once with status 3, and go on behind the answer. */
  updatesAsync: boolean;
  /** One deployment at a time, of all endpoints. */
  queues: boolean;
}

function collision(world: World, stack: Stack, endpointId: number): Refusal | undefined {
  const collides =
    containersOf(world, endpointId, projectOf(stack)).length > 0 ||
    world.stacks.some(
      (other) => other !== stack && other.endpointId === endpointId && projectOf(other) === projectOf(stack),
    );
  if (!collides) return undefined;
  const message = `A stack with the name '${stack.name}' is already running`;
  return [409, message, message];
}

const inactive: Refusal = [400, 'Stack is already inactive', 'Stack is already inactive'];

export const families: Record<string, Family> = {
  old: {
    version: '2.39.6',
    // Before the check of the status: an active stack that still has containers answers 409, not 400.
    refuseStart: (world, stack, endpointId) =>
      collision(world, stack, endpointId) ??
      (stack.status === 1 ? [400, 'Stack is already active', 'Stack is already active'] : undefined),
    refuseStop: (stack) => (stack.status === 2 ? inactive : undefined),
    refuseUpdate: () => undefined,
    keepsErrors: false,
    updatesAsync: false,
    queues: false,
  },
  new: {
    version: '2.45.0',
    refuseStart(world, stack, endpointId) {
      const refuse = (details: string): Refusal => [409, 'Unable to start stack', details];
      if (stack.status === 1) return refuse('Stack is already active');
      if (stack.status === 3) return refuse('Stack deployment is already in progress');
      if (stack.status === 4) return refuse(stack.deployments.at(-1)?.message ?? 'Stack is in error state');
      return collision(world, stack, endpointId);
    },
    refuseStop(stack) {
      if (stack.status === 2) return inactive;
      const message = 'Stack deployment is in progress';
      return stack.status === 3 ? [409, message, message] : undefined;
    },
    refuseUpdate: (stack) =>
      stack.status === 3 ? [409, 'Unable to update stack', 'Stack deployment is already in progress'] : undefined,
    keepsErrors: true,
    updatesAsync: true,
    queues: true,
  },
};
