/** The stack files of the sandbox, by stack name. */
export const seedFiles: Record<string, string> = {
  nextcloud: `services:
  db:
    image: postgres:17
    restart: unless-stopped
    environment:
      POSTGRES_PASSWORD: \${DB_PASSWORD}
    healthcheck:
      test: ["CMD-SHELL", "pg_isready"]
  app:
    image: nextcloud:31
    restart: unless-stopped
    depends_on:
      db:
        condition: service_started
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost/status.php"]
    labels:
      traefik.enable: "true"
      traefik.http.routers.nextcloud.rule: Host(\`\${DOMAIN}\`)
`,
  mediaservice: `services:
  jellyfin:
    image: jellyfin/jellyfin:10.10
    restart: unless-stopped
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:8096/health"]
    labels:
      - traefik.enable=true
      - traefik.http.routers.media.rule=Host(\`media.server.local\`)
  sonarr:
    image: linuxserver/sonarr:4.0.14
    restart: unless-stopped
`,
  n8n: `services:
  postgres:
    image: postgres:17
    restart: unless-stopped
    healthcheck:
      test: ["CMD-SHELL", "pg_isready"]
  migrate:
    image: n8nio/n8n:1.90.0
    restart: "no"
    depends_on: [postgres]
  n8n:
    image: n8nio/n8n:1.90.0
    restart: unless-stopped
    depends_on:
      migrate:
        condition: service_completed_successfully
    healthcheck:
      test: ["CMD", "wget", "-qO-", "http://localhost:5678/healthz"]
    labels:
      spot-start.host: n8n.server.local
`,
  'example-stack': `services:
  web:
    image: nginx:1.29
    restart: unless-stopped
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost/"]
    labels:
      home.resolve.domain: example.server.local
`,
  photos: `services:
  server:
    image: ghcr.io/immich-app/immich-server:v1.132
    restart: always
    healthcheck:
      test: ["CMD", "immich-healthcheck"]
    labels:
      home.resolve.domain: photos.server.local
`,
};
