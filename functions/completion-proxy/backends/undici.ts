import request from 'undici/lib/api/api-request.js';
import Pool from 'undici/lib/dispatcher/pool.js';

// undici's index gives its pool this method, and loads fetch, WebSocket, caches and mocks: four fifths of it.
Object.assign(Pool.prototype, { request });

export { Pool };
