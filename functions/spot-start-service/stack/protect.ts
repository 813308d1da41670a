/** What is known of a container or of a service in a stack file. */
interface Part {
  image: string;
  hostPorts: number[];
  onHostNetwork?: boolean;
  isPortainer?: boolean;
  labels: Record<string, string>;
}

const ownImages = /(^|\/)portainer(-ce|-ee)?\/|(^|\/)(portainer|openfaas|openfaasltd)\/|(^|\/)(faasd|of-watchdog)/;
const proxyImages =
  /(^|\/)(traefik|nginx-proxy|nginx-proxy-manager|caddy-docker-proxy|swag|haproxy|envoy|zoraxy|cosmos-server|nginxproxymanager|cloudflared|pangolin|sablier)([:@/-]|$)/;
const webServers = /(^|\/)(nginx|caddy|httpd|apache|openresty|angie)([:@/-]|$)/;

/**
 * Why a stack must never be stopped and started: it holds Portainer, OpenFaaS or what stands before them. A container
 * with port 80 or 443 of its host is taken for the reverse proxy; `spot-start.protected` decides in both directions.
 */
export function protectionOf(name: string, parts: Part[], protectedNames: string[]): string | undefined {
  if (protectedNames.includes(name.toLowerCase())) return 'it is listed in SPOT_START_PROTECTED';
  const told = parts.flatMap(({ labels }) => labels['spot-start.protected']?.toLowerCase() ?? []);
  if (told.includes('true')) return 'it is labelled spot-start.protected';
  if (parts.some(({ isPortainer }) => isPortainer)) return 'it holds Portainer itself';
  if (told.includes('false')) return undefined;
  if (parts.some(({ image }) => ownImages.test(image))) return 'it holds Portainer or OpenFaaS';
  const isProxy = ({ image, hostPorts, onHostNetwork }: Part) =>
    proxyImages.test(image) ||
    hostPorts.some((port) => port === 80 || port === 443) ||
    (onHostNetwork === true && webServers.test(image));
  return parts.some(isProxy) ? 'it holds the reverse proxy' : undefined;
}
