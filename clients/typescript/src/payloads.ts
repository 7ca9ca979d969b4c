/**
 * What the channels of odin's default rules carry. Types only: a gateway passes a publisher's JSON on untouched, so
 * these are what a well-behaved publisher sends, not what anybody has checked.
 *
 * Times are milliseconds since 1970, changes are percent, prices and volumes are in the quote currency.
 */

/** `price:{token}` */
export interface Price {
  type: 'price:update';
  tokenId: string;
  price: number;
  volume24h: number;
  priceChange24h: number;
  timestamp: number;
  source: 'trade' | 'scheduler';
  nonce: string;
}

/** `volume:{token}` */
export interface Volume {
  type: 'volume:update';
  tokenId: string;
  volume24h: number;
  trades24h: number;
  timestamp: number;
  nonce: string;
}

/** `watchlist:{symbol}` */
export interface Quote {
  type: 'quote';
  symbol: string;
  bid: number;
  ask: number;
  bidSize: number;
  askSize: number;
  last: number;
  timestamp: number;
  nonce: string;
}

/** `prices:batch` */
export interface PriceBatch {
  type: 'price:batch';
  updates: { tokenId: string; price: number; volume24h: number; priceChange24h: number }[];
  timestamp: number;
  nonce: string;
}

/** A token and its change, of {@link MarketSummary}. */
export interface Mover {
  tokenId: string;
  priceChange24h: number;
}

/** `market:summary` */
export interface MarketSummary {
  type: 'market:summary';
  tokens: number;
  totalVolume24h: number;
  advancing: number;
  declining: number;
  unchanged: number;
  topGainer: Mover;
  topLoser: Mover;
  timestamp: number;
  nonce: string;
}

/** `market:volume` */
export interface MarketVolume {
  type: 'market:volume';
  totalVolume24h: number;
  totalTrades24h: number;
  leaders: { tokenId: string; volume24h: number }[];
  timestamp: number;
  nonce: string;
}

/** `market:sentiment` */
export interface MarketSentiment {
  type: 'market:sentiment';
  /** 0 (all decline) to 100 (all advance). */
  score: number;
  label: 'extreme_fear' | 'fear' | 'neutral' | 'greed' | 'extreme_greed';
  timestamp: number;
  nonce: string;
}

/** `market:statistics` */
export interface MarketStatistics {
  type: 'market:statistics';
  tokens: number;
  totalTrades24h: number;
  averageTradeValue: number;
  averageChange24h: number;
  burstingTokens: number;
  timestamp: number;
  nonce: string;
}

/** `market:status` */
export interface MarketStatus {
  type: 'market:status';
  status: string;
  tokens: number;
  timestamp: number;
  nonce: string;
}

/** `signals:…` */
export interface Signal {
  type: 'signal';
  signal: string;
  entity: string;
  severity: 'low' | 'medium' | 'high';
  score: number;
  direction: 'up' | 'down';
  price: number;
  priceChange24h: number;
  timestamp: number;
  nonce: string;
}

/** `trades` */
export interface Trade {
  type: 'trade';
  user: string;
  tradeId: number;
  tokenId: string;
  side: 'buy' | 'sell';
  quantity: number;
  price: number;
  value: number;
  timestamp: number;
  nonce: string;
}

/** `portfolio` */
export interface Portfolio {
  type: 'portfolio';
  user: string;
  cash: number;
  positions: { tokenId: string; quantity: number; price: number; value: number }[];
  totalValue: number;
  timestamp: number;
  nonce: string;
}

/** `notifications` */
export interface Notification {
  type: 'notification';
  user: string;
  title: string;
  text: string;
  timestamp: number;
  nonce: string;
}

/** `system:health` */
export interface Health {
  type: 'system:health';
  status: string;
  source: string;
  tokens: number;
  trades: number;
  uptimeMs: number;
  timestamp: number;
  nonce: string;
}

/** What a channel of the default rules carries; `unknown` for every other one. */
export type PayloadOf<C extends string> = C extends `price:${string}`
  ? Price
  : C extends `volume:${string}`
    ? Volume
    : C extends `watchlist:${string}`
      ? Quote
      : C extends `signals:${string}`
        ? Signal
        : C extends keyof ChannelPayloads
          ? ChannelPayloads[C]
          : unknown;

/** What channels without variables carry. */
export interface ChannelPayloads {
  'prices:batch': PriceBatch;
  'market:summary': MarketSummary;
  'market:volume': MarketVolume;
  'market:sentiment': MarketSentiment;
  'market:statistics': MarketStatistics;
  'market:status': MarketStatus;
  'system:health': Health;
  portfolio: Portfolio;
  trades: Trade;
  notifications: Notification;
}
