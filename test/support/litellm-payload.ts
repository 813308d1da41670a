import type { SpendLogRow } from '../../sandbox/litellm.ts';

/** LiteLLM's payload of a row's call, in the newer or the flat older generation. */
export function toPayload(row: SpendLogRow, isFlat = false): Record<string, unknown> {
  const metadata = {
    user_api_key_hash: row.api_key,
    user_api_key_alias: row.metadata.user_api_key_alias ?? null,
    user_api_key_team_id: row.team_id || null,
    user_api_key_user_id: row.user || null,
    user_api_key_org_id: row.organization_id,
    spend_logs_metadata: row.metadata.spend_logs_metadata ?? null,
    usage_object: row.metadata.usage_object ?? null,
  };
  const startS = Date.parse(row.startTime) / 1000;
  if (isFlat) {
    const python = (value: unknown): string =>
      value === null || value === undefined
        ? 'None'
        : typeof value === 'string'
          ? `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`
          : Array.isArray(value)
            ? `[${value.map(python).join(', ')}]`
            : typeof value === 'object'
              ? `{${Object.entries(value)
                  .map(([key, item]) => `${python(key)}: ${python(item)}`)
                  .join(', ')}}`
              : String(value);
    const { prompt_tokens: prompt, completion_tokens: completion, total_tokens: total } = row;
    const usage = { completion_tokens: completion, prompt_tokens: prompt, total_tokens: total };
    // Python shows an object by its class, with its fields in parentheses.
    const show = (name: string, fields: object): string =>
      `${name}(${Object.entries(fields)
        .map(
          ([key, value]) =>
            `${key}=${typeof value === 'object' && value !== null ? show('Wrapper', value) : python(value)}`,
        )
        .join(', ')})`;
    return {
      id: row.request_id,
      call_type: row.call_type,
      cache_hit: row.cache_hit,
      startTime: `${row.startTime.replace('T', ' ').replace('Z', '')}417`,
      endTime: `${row.endTime.replace('T', ' ').replace('Z', '')}417`,
      model: row.model,
      user: row.end_user,
      modelParameters: '{}',
      messages: "[{'role': 'user', 'content': 'it''s'}]",
      response: 'ModelResponse(...)',
      usage: show('Usage', { ...usage, ...(row.metadata.usage_object as object | undefined), cost: null }),
      metadata: python({ ...metadata, user_api_key: row.api_key, tags: row.request_tags }),
      cost: String(row.spend),
    };
  }
  return {
    id: row.request_id,
    trace_id: row.session_id,
    call_type: row.call_type,
    response_cost: row.spend,
    status: row.status ?? 'success',
    custom_llm_provider: row.custom_llm_provider,
    total_tokens: row.total_tokens,
    prompt_tokens: row.prompt_tokens,
    completion_tokens: row.completion_tokens,
    // Microseconds behind the millisecond that the table keeps.
    startTime: Number(`${Math.floor(startS)}.${row.startTime.slice(20, 23)}417`),
    endTime: Date.parse(row.endTime) / 1000,
    model: row.model,
    model_group: row.model_group,
    metadata,
    cache_hit: row.cache_hit === 'True',
    request_tags: row.request_tags,
    end_user: row.end_user || null,
    messages: [{ role: 'user', content: 'x'.repeat(200) }],
    response: { choices: [] },
    hidden_params: {},
  };
}
