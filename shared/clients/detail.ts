const credentialName = /authorization|key|token|cookie/i;

/**
 * What an upstream said, for the operator's log: of a long text its begin and its end (a program that tells its progress
 * first has its reason last), without the credentials among the header fields that it was sent.
 */
export function toDetail(body: string, sent: Record<string, string>): string {
  const credentials = Object.entries(sent)
    .filter(([name]) => credentialName.test(name))
    .flatMap(([, value]) => value.split(' '))
    .filter((part) => part.length >= 8);
  const text = body.slice(0, 100_000).replace(/\s+/g, ' ');
  const line = credentials.reduce((rest, credential) => rest.replaceAll(credential, '[redacted]'), text);
  return line.length <= 300 ? line : `${line.slice(0, 100)} … ${line.slice(-200)}`;
}
