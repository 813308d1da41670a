const error = (description: string) => ({
  description,
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
});
const jsonOf = (description: string, schema: object) => ({ description, content: { 'application/json': { schema } } });
const textOf = (description: string) => ({ description, content: { 'text/plain': { schema: { type: 'string' } } } });
const status = jsonOf('It runs', { $ref: '#/components/schemas/Status' });
const open: object[] = [];

const textParameter = (name: string) => ({ name, in: 'query', schema: { type: 'string' } });
const historyFilters = ['since', 'until', 'caller', 'model', 'status', 'outcome', 'text'].map(textParameter);

const completion = {
  type: 'object',
  required: ['prompt'],
  properties: {
    prompt: { type: 'string', minLength: 1 },
    model: { type: 'string', description: 'else COMPLETION_MODEL, OLLAMA_MODEL or OPENAI_MODEL' },
    options: {
      type: 'object',
      description: 'temperature, top_p, seed, max_tokens, stop; other ones reach Ollama only',
      properties: {
        temperature: { type: 'number' },
        top_p: { type: 'number' },
        seed: { type: 'integer' },
        max_tokens: { type: 'integer', minimum: 1 },
        stop: { oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
      },
    },
    stream: { type: 'boolean', default: false, description: 'lines with `Accept: application/x-ndjson`, else events' },
    deadline_ms: { type: 'integer', minimum: 1, description: 'at most COMPLETION_TIMEOUT_MS' },
    fallback: { type: 'boolean', description: 'else COMPLETION_FALLBACK' },
  },
};

/** Our own routes. Every other path is the backend's. Each short path is also there below `/_proxy`. */
export const openApi = {
  openapi: '3.1.0',
  info: {
    title: 'completion-proxy',
    version: '1.0.0',
    description: 'Our own routes; every other path is passed to a backend. Each is also below /_proxy.',
  },
  servers: [{ url: '..', description: 'this function' }],
  security: [{ bearer: [] }, { key: [] }],
  components: {
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer' },
      key: { type: 'apiKey', in: 'header', name: 'X-Api-Key' },
    },
    schemas: {
      Error: {
        type: 'object',
        required: ['error', 'code', 'call_id'],
        properties: { error: { type: 'string' }, code: { type: 'string' }, call_id: { type: 'string' } },
      },
      Status: {
        type: 'object',
        required: ['status', 'time'],
        properties: { status: { const: 'ok' }, time: { type: 'string', format: 'date-time' } },
      },
      Completion: { type: 'object', required: ['completion'], properties: { completion: { type: 'string' } } },
    },
  },
  paths: {
    '/': { get: { summary: 'It runs', responses: { 200: status } } },
    '/completion': {
      post: {
        summary: 'One prompt, one completion',
        requestBody: { required: true, content: { 'application/json': { schema: completion } } },
        responses: {
          200: {
            description: 'The completion; X-Completion-Source is fallback where no model gave it',
            content: {
              'application/json': { schema: { $ref: '#/components/schemas/Completion' } },
              'text/event-stream': { schema: { type: 'string' } },
              'application/x-ndjson': { schema: { type: 'string' } },
            },
          },
          400: error('The prompt is missing or malformed'),
          404: error('The model is not served here'),
          502: error('The model gave no usable answer, and no fallback is wanted'),
          504: error('The deadline passed, and no fallback is wanted'),
        },
      },
    },
    '/logs': {
      get: {
        summary: 'What was called, one line an event; only for admins once CALLERS has an entry',
        parameters: [
          { name: 'level', in: 'query', schema: { enum: ['debug', 'info', 'warning', 'error', 'critical'] } },
          { name: 'since', in: 'query', schema: { type: 'string' } },
          { name: 'follow', in: 'query', schema: { type: 'boolean' } },
          { name: 'format', in: 'query', schema: { enum: ['text', 'json', 'ndjson', 'sse'] } },
        ],
        responses: { 200: textOf('The last lines'), 400: error('A parameter that is not understood') },
      },
    },
    '/history': {
      get: {
        summary: 'The records of calls, newest first; a key of CALLERS that is no admin sees its own',
        parameters: [
          ...historyFilters,
          textParameter('cursor'),
          { name: 'limit', in: 'query', schema: { type: 'integer', minimum: 1, maximum: 1000, default: 100 } },
          { name: 'format', in: 'query', schema: { enum: ['text', 'json', 'ndjson', 'sse'] } },
          { name: 'follow', in: 'query', schema: { type: 'boolean' } },
        ],
        responses: {
          200: {
            description:
              'A page; lines; every new record as an event; or, as text, prompts and completions of /completion',
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  required: ['records', 'next'],
                  properties: { records: { type: 'array' }, next: { type: ['string', 'null'] } },
                },
              },
              'application/x-ndjson': { schema: { type: 'string' } },
              'text/event-stream': { schema: { type: 'string' } },
              'text/plain': { schema: { type: 'string' } },
            },
          },
          400: error('A parameter that is not understood'),
        },
      },
    },
    '/honeybadger': {
      post: {
        summary: 'Sends a test notice to Honeybadger; only below /_proxy, only for admins',
        responses: {
          200: {
            description: 'It was taken',
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  required: ['sent', 'id'],
                  properties: { sent: { const: true }, id: { type: ['string', 'null'] } },
                },
              },
            },
          },
          403: error('The key is no admin of CALLERS'),
          404: error('There is no honeybadger-api-key'),
          502: error('Honeybadger did not take it'),
        },
      },
    },
    '/vast/endpoints': {
      get: {
        summary: 'The endpoints of the Vast.ai account, and who uses them; only below /_proxy, only for admins',
        responses: {
          200: jsonOf('Their names', { type: 'object', required: ['endpoints'] }),
          403: error('The key is no admin of CALLERS'),
          404: error('There is no vast-account-key'),
          502: error('Vast.ai did not answer'),
        },
      },
    },
    '/metrics': { get: { summary: 'For Prometheus', responses: { 200: textOf('Text format 0.0.4') } } },
    '/key': {
      get: {
        summary: 'What the key of this call may do, what is left and when it resets',
        responses: { 200: jsonOf('Its limits', { type: 'object', required: ['name', 'models'] }) },
      },
    },
    '/ui': {
      get: {
        summary: 'A page for a person: calls under way, history with search, one call in detail, backends',
        responses: { 200: { description: 'The page', content: { 'text/html': { schema: { type: 'string' } } } } },
      },
    },
    '/ui/live': {
      get: {
        summary: 'What the page follows: now events (calls under way, backends), and each new record as a message',
        parameters: historyFilters,
        responses: {
          200: { description: 'Events', content: { 'text/event-stream': { schema: { type: 'string' } } } },
          400: error('A parameter that is not understood'),
        },
      },
    },
    '/health': { get: { summary: 'It runs', security: open, responses: { 200: status } } },
    '/ready': {
      get: {
        summary: 'Whether a backend can be asked',
        security: open,
        responses: {
          200: jsonOf('One can', { type: 'object', properties: { status: { const: 'ready' } } }),
          503: jsonOf('None can', { type: 'object', properties: { status: { const: 'not ready' } } }),
        },
      },
    },
    '/ping': { get: { summary: 'pong', security: open, responses: { 200: textOf('pong') } } },
    '/v1/models': {
      get: {
        summary: "Every backend's models, as OpenAI lists them (as Anthropic does where anthropic-version is sent)",
        responses: {
          200: jsonOf('The list', { type: 'object', required: ['data'], properties: { data: { type: 'array' } } }),
        },
      },
    },
    '/api/tags': {
      get: {
        summary: "Every backend's models, as Ollama lists them",
        responses: {
          200: jsonOf('The list', { type: 'object', required: ['models'], properties: { models: { type: 'array' } } }),
        },
      },
    },
    '/openapi.json': {
      get: { summary: 'This document', responses: { 200: jsonOf('This document', { type: 'object' }) } },
    },
  },
};
