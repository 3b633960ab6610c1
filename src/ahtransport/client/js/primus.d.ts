// The types of Primus in the browser, and of what it tells. They need TypeScript 4.7 or newer.

/** What carries the messages. */
type Transport = 'websocket' | 'polling';

/** A number is in milliseconds; Infinity is one. */
type Milliseconds = number;

/** Events by name, with their listeners' arguments. */
type EventMap = { [event: string]: any[] };

type NameOf<Events> = keyof Events & string;
declare class EventEmitter<Events extends object = EventMap> {
  on<E extends string>(event: E | NameOf<Events>, listener: Listener<Events, E>, context?: unknown): this;
  addListener<E extends string>(event: E | NameOf<Events>, listener: Listener<Events, E>, context?: unknown): this;
  once<E extends string>(event: E | NameOf<Events>, listener: Listener<Events, E>, context?: unknown): this;
  /** Take away a listener; without one, all of this event. */
  removeListener<E extends string>(event: E | NameOf<Events>, listener?: Listener<Events, E>): this;
  off<E extends string>(event: E | NameOf<Events>, listener?: Listener<Events, E>): this;
  removeAllListeners(event?: string): this;
  /** False: nobody listens. */
  emit<E extends string>(event: E | NameOf<Events>, ...args: ArgumentsOf<Events, E>): boolean;
  listeners(event: string): Function[];
  listenerCount(event: string): number;
  eventNames(): string[];
}
type ArgumentsOf<Events, E> = E extends keyof Events ? (Events[E] extends any[] ? Events[E] : any[]) : any[];
type Listener<Events, E> = (...args: ArgumentsOf<Events, E>) => void;

// ---- Primus

/** How it tries again after a connection was lost. */
interface ReconnectOptions {
  /** The longest wait. Default: Infinity. */
  max?: Milliseconds;
  /** The shortest wait. Default: 500. */
  min?: Milliseconds;
  /** How often. Default: 10. */
  retries?: number;
  /** How long one attempt may take. Default: 30000. */
  'reconnect timeout'?: Milliseconds;
  /** By how much each wait is longer than the one before. Default: 2. */
  factor?: number;
}

/** What the server did not set takes its value from the server's configuration. */
interface PrimusOptions {
  reconnect?: ReconnectOptions;
  /** How long connecting may take. Default: 10000. */
  timeout?: Milliseconds;
  /** After how much silence the server is asked for a sign of life; 0: never. Default: 25000. */
  ping?: Milliseconds;
  /** How long its answer may take. Default: 10000. */
  pong?: Milliseconds;
  /** How long the server may be silent, where it pings by itself; takes the place of `ping` and `pong`. */
  pingTimeout?: Milliseconds | false;
  /** When to reconnect: any of "disconnect", "online" and "timeout", with commas; false: never. */
  strategy?: string | string[] | false;
  /** Whether `open()` is to be called by hand. */
  manual?: boolean;
  /** False: by polling only. */
  websockets?: boolean;
  /** Whether the browser's "online" and "offline" events are heeded. */
  network?: boolean;
  /** Options of what carries the messages. */
  transport?: { [option: string]: any };
  /** How many messages may wait for a connection; the oldest fall out, which the event "dropped" tells. */
  queueSize?: number;
  /** Where the server has several, which one: "websockets", "engine.io", "socket.io" … */
  transformer?: string;
  pathname?: string;
  /** Whether it tries again also after the server refused. */
  'retry refused'?: boolean;
  /** A constructor to use instead of the global one, such as npm `ws`. */
  WebSocket?: any;
  /** A function to use instead of the global one. */
  fetch?: (...args: any[]) => Promise<any>;
  [option: string]: any;
}

/** One attempt to reconnect. */
interface ReconnectAttempt {
  attempt: number;
  retries: number;
  /** How long it waits before this attempt. */
  scheduled: Milliseconds;
  /** When reconnecting began, in ms of the epoch. */
  start: number;
  duration: Milliseconds;
  min: Milliseconds;
  max: Milliseconds;
  factor: number;
  'reconnect timeout': Milliseconds;
}

/** What the server said when it did not admit the client. */
interface Refusal {
  status?: number;
  reason?: string;
  data?: any;
}

interface CloseReason {
  code?: number;
  reason?: string;
}

interface PrimusEvents {
  open: [];
  data: [message: any, raw?: any];
  error: [error: Error & { status?: number; refused?: boolean }];
  close: [why?: CloseReason];
  end: [];
  timeout: [];
  destroy: [];
  online: [];
  offline: [];
  readyStateChange: [state: string];
  reconnect: [attempt: ReconnectAttempt];
  reconnected: [attempt: ReconnectAttempt];
  'reconnect scheduled': [attempt: ReconnectAttempt];
  'reconnect timeout': [error: Error, attempt: ReconnectAttempt];
  'reconnect failed': [error: Error, attempt: ReconnectAttempt];
  /** The server does not admit this client, and trying again would not help. */
  refused: [refusal: Refusal];
  /** The server has a newer client than this page. */
  stale: [own: string, servers: string];
  /** A message fell out of the full queue. */
  dropped: [message: any];
  transport: [name: Transport];
}

/** A message on its way; `data` may be changed. */
interface Packet {
  data: any;
}
type MessageTransformer = (packet: Packet, next: (error?: Error, result?: false) => void) => any;

interface Primus extends EventEmitter<PrimusEvents> {
  readonly readyState: number;
  readonly options: PrimusOptions;
  readonly online: boolean;
  /** Of the last round trip. */
  readonly latency: Milliseconds;
  readonly pathname: string;
  readonly version: string;
  /** What carries it now; undefined without a connection. */
  readonly transport: Transport | undefined;
  /** What the server calls the way they talk, such as "engine.io". */
  readonly transformer: string;
  open(): this;
  /** Send a message, or keep it until there is a connection. False: it was destroyed. */
  write(message: any): boolean;
  /** Send an event. A function as the last argument gets the server's answer. */
  send(event: string, ...args: any[]): this;
  /** Send an event and wait for the server's answer. */
  call(event: string, ...args: any[]): Promise<any>;
  end(message?: any): this;
  destroy(): boolean;
  /** Call back with the connection's id on the server. */
  id(callback: (id: string) => void): this;
  transform(type: 'incoming' | 'outgoing', transformer: MessageTransformer): this;
  plugin(name: string): Function | undefined;
  plugin(): { [name: string]: Function };
  reserved(event: string): boolean;
  emits(event: string, ...rest: any[]): (...args: any[]) => any;
}

interface PrimusStatic {
  new (url: string | URL, options?: PrimusOptions): Primus;
  new (options?: PrimusOptions): Primus;
  (url: string | URL, options?: PrimusOptions): Primus;
  (options?: PrimusOptions): Primus;
  connect(url?: string | URL | PrimusOptions, options?: PrimusOptions): Primus;
  readonly prototype: Primus;
  readonly EventEmitter: typeof EventEmitter;
  readonly OPENING: 1;
  readonly CLOSED: 2;
  readonly OPEN: 3;
}
declare const Primus: PrimusStatic;
