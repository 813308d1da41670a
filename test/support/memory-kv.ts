import type { KeyValue } from '#shared/store/store.ts';

/** A store's kv in memory; values go through JSON as they do in a real one. */
export function createMemoryKv(): KeyValue & { entries: Map<string, string> } {
  const entries = new Map<string, string>();
  return {
    entries,
    async get(key) {
      const text = entries.get(key);
      return text === undefined ? undefined : JSON.parse(text);
    },
    async getAll(keys) {
      const found = keys.filter((key) => entries.has(key));
      return new Map(found.map((key) => [key, JSON.parse(entries.get(key)!)]));
    },
    async put(key, value) {
      entries.set(key, JSON.stringify(value));
    },
    async putIfAbsent(key, value) {
      if (entries.has(key)) return false;
      entries.set(key, JSON.stringify(value));
      return true;
    },
    async add(key, amount) {
      const sum = Number(entries.get(key) ?? 0) + amount;
      entries.set(key, JSON.stringify(sum));
      return sum;
    },
  };
}
