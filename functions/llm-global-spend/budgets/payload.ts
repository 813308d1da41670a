import type { Alert } from './alert.ts';

export const alertFormats = ['generic', 'slack', 'discord'] as const;
export type AlertFormat = (typeof alertFormats)[number];

const colors = { over: 0xd03b3b, warning: 0xeda100, forecast: 0x2a78d6 };
const colorOf = ({ threshold }: Alert) =>
  threshold === null ? colors.forecast : threshold >= 100 ? colors.over : colors.warning;

/** Slack reads `<!channel>` and links in a text: these three characters are all that it needs escaped. */
const forSlack = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Names come from people: without the backslashes they could be bold, a link or a spoiler. */
const forDiscord = (text: string) => text.replace(/[\\*_~`|>[\]()#]/g, '\\$&');

const facts = (alert: Alert): [string, string][] => [
  ['Spent', `${alert.complete ? '' : 'at least '}$${alert.spend_usd.toFixed(2)} (${alert.percent} %)`],
  ['Limit', `$${alert.limit_usd.toFixed(2)} per ${alert.period}`],
  ...(alert.forecast_usd === null ? [] : [['By the end', `$${alert.forecast_usd.toFixed(2)}`] as [string, string]]),
];

/** The body of the post: JSON of our own, or what Slack's and Discord's incoming webhooks take. */
export function toPayload(alert: Alert, format: AlertFormat): unknown {
  if (format === 'generic') return { version: 1, ...alert };
  if (format === 'slack') {
    return {
      text: forSlack(alert.message),
      blocks: [
        { type: 'section', text: { type: 'mrkdwn', text: forSlack(alert.message) } },
        {
          type: 'section',
          fields: facts(alert).map(([name, value]) => ({ type: 'mrkdwn', text: `*${name}*\n${forSlack(value)}` })),
        },
      ],
    };
  }
  return {
    embeds: [
      {
        title: forDiscord(alert.budget).slice(0, 256),
        description: forDiscord(alert.message).slice(0, 4000),
        color: colorOf(alert),
        fields: facts(alert).map(([name, value]) => ({ name, value, inline: true })),
        timestamp: alert.created_at,
      },
    ],
    // A team may be called @everyone.
    allowed_mentions: { parse: [] },
  };
}
