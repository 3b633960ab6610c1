// The types of ActionheroWebsocketClient. `Actions` is made from the server's own.

// ---- What is said on the wire

/** Why a call failed. */
interface CallError extends Error {
  code: 'RESPONSE' | 'DISCONNECTED' | 'TIMEOUT' | 'REFUSED' | 'INVALID' | 'DROPPED' | 'REPLACED' | 'NETWORK';
  /** RESPONSE: the server's answer. */
  response?: any;
  /** HTTP's, of an action that was run over it; or of a refusal. */
  status?: number;
  statusText?: string;
  /** What the server answered instead of JSON. */
  responseText?: string;
  /** REFUSED */
  refused?: boolean;
  reason?: string;
  data?: any;
  /** The room that could not be joined again. */
  room?: string;
  cause?: unknown;
}

/** What comes with every answer. */
interface Envelope {
  context?: 'response';
  messageId?: any;
  /** Of an action over HTTP. */
  serverInformation?: any;
  requesterInformation?: any;
}
/** A good answer. */
type Response<Result> = Result & Envelope & { error?: undefined };
/** A bad one: what the server said, or the Error that tells why there is no answer. */
interface Failure extends Envelope {
  error: string | CallError;
  status?: string;
  [name: string]: any;
}
type Callback<Result> = (response: Response<Result> | Failure) => void;
/** It is known by its two parameters; give them types: `(error: CallError | null, response: any) => …`. */
type ErrorFirst<Result> = (error: CallError | null, response: Response<Result>) => void;

/** The answer to a verb. */
interface Answer<Data> {
  status: string;
  data: Data;
}

/** What the server knows of a connection. */
interface Details {
  id: string;
  fingerprint: string;
  remoteIP: string;
  remotePort: number | string;
  params: { [name: string]: any };
  /** In ms of the epoch. */
  connectedAt: number;
  rooms: string[];
  totalActions: number;
  pendingActions: number;
  [name: string]: any;
}

interface RoomDetails {
  room: string;
  members: { [id: string]: { id: string; joinedAt: number; [name: string]: any } };
  membersCount: number;
}

interface FileAnswer {
  content: string;
  mime: string;
  length: number;
  lastModified: string;
}

interface ActionDocumentation {
  name: string;
  version: number | string;
  description: string;
  inputs: { [name: string]: { required: boolean; type: string; default?: any; description?: string } };
  outputExample: any;
}
/** By name and version. */
interface Documentation {
  [name: string]: { [version: string]: ActionDocumentation };
}

interface SayMessage {
  context: 'user';
  message: any;
  room: string;
  /** The id of the connection that said it. */
  from: string;
  /** In ms of the epoch. */
  sentAt: number;
}

interface WelcomeMessage {
  context: 'api';
  welcome: any;
}

// ---- Actions

/** What every action takes. */
interface ActionOptions {
  /** Which version; the newest by default. */
  apiVersion?: number | string;
  /** How, when it is run over HTTP: "POST" by default. */
  httpMethod?: string;
  messageId?: any;
}
type ParamsOf<Name extends string> = Name extends keyof Actions
  ? Actions[Name]['params'] & ActionOptions
  : ActionOptions & { [name: string]: unknown };
type ResultOf<Name extends string> = Name extends keyof Actions ? Actions[Name]['result'] : { [name: string]: any };
/** Whether an action can do without parameters. */
type Optional<Name extends string, Then, Else = never> = {} extends ParamsOf<Name> ? Then : Else;
type ParamsArgument<Name extends string> = Optional<Name, ParamsOf<Name> | null | undefined, ParamsOf<Name>>;

// ---- ActionheroWebsocketClient

interface ClientOptions extends PrimusOptions {
  /** The server's origin. Default: the page's. */
  url?: string;
  /** Where actions are on it over HTTP. */
  apiPath?: string;
  /** The session's cookie, whose value goes with the handshake where the page can read it; "": none. */
  cookieKey?: string;
  /** How long a call may wait for its answer; 0, the default: as long as the connection lives. */
  responseTimeout?: Milliseconds;
}

type State = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'timeout';

interface ClientEvents {
  connected: [];
  disconnected: [];
  error: [error: Error & Partial<CallError>];
  /** It is connected again, with its rooms. */
  reconnect: [];
  /** It will try to reconnect. */
  reconnecting: [attempt: ReconnectAttempt];
  timeout: [];
  /** Every message. */
  message: [message: any];
  alert: [message: any];
  api: [message: any];
  welcome: [message: WelcomeMessage];
  say: [message: SayMessage];
  stale: [own: string, servers: string];
  refused: [refusal: Refusal];
  dropped: [message: any];
  transport: [name: Transport];
}

type Connected = [error: null, details: Response<Answer<Details>>];
type NotConnected = [error: CallError, details: undefined];

/**
 * Actions, rooms, chat and files over a realtime connection.
 *
 * A callback with one parameter gets the answer, whose `error` tells that it is none; one with two gets
 * (error, answer); without a callback there is a promise.
 */
declare class ActionheroWebsocketClient extends EventEmitter<ClientEvents> {
  /** @param client a Primus client to use instead of an own one; `connect()` (re)opens it. */
  constructor(options?: ClientOptions, client?: Primus);

  readonly state: State;
  /** The connection's id; null before it is connected. After a reconnect it is another one. */
  readonly id: string | null;
  readonly fingerprint: string | null;
  /** What the server last said of this connection. */
  readonly details: Details | null;
  /** Where it is, and will be again after a reconnect. */
  rooms: string[];
  readonly welcomeMessage: any;
  /** Of the message that was sent last. */
  messageId: number;
  /** What gets the answers, by messageId. */
  callbacks: { [messageId: string]: (response: any) => void };
  options: ClientOptions;
  /** What carries the messages now; undefined when nothing does. */
  readonly transport: Transport | undefined;
  /** The Primus client; null before the first `connect()`. */
  client: Primus | null;
  readonly primus: Primus | null;
  readonly externalClient: boolean;

  /**
   * Connect. It is done when the connection is there and its rooms are joined; it has failed when it will not come:
   * refused, given up, ended.
   */
  connect(): Promise<Response<Answer<Details>>>;
  connect(callback: (...args: Connected | NotConnected) => void): void;
  /** Leave for good. Calls that wait for an answer fail. */
  disconnect(): void;

  /** Run an action: over the connection, or over HTTP when there is none. */
  action<Name extends string>(
    name: Name | keyof Actions,
    ...params: Optional<Name, [params?: ParamsArgument<Name>], [params: ParamsArgument<Name>]>
  ): Promise<Response<ResultOf<Name>>>;
  action<Name extends string>(
    name: Name | keyof Actions,
    params: ParamsArgument<Name>,
    callback: Callback<ResultOf<Name>>,
  ): void;
  action<Name extends string>(
    name: Name | keyof Actions,
    params: ParamsArgument<Name>,
    callback: ErrorFirst<ResultOf<Name>>,
  ): void;
  action<Name extends string>(name: Name | keyof Actions, callback: Optional<Name, Callback<ResultOf<Name>>>): void;
  action<Name extends string>(name: Name | keyof Actions, callback: Optional<Name, ErrorFirst<ResultOf<Name>>>): void;

  /** Run an action over HTTP, whether connected or not. */
  actionWeb(params: { action: string; [name: string]: any }): Promise<Response<{ [name: string]: any }>>;
  actionWeb(params: { action: string; [name: string]: any }, callback: Callback<{ [name: string]: any }>): void;
  actionWeb(params: { action: string; [name: string]: any }, callback: ErrorFirst<{ [name: string]: any }>): void;
  /** Run an action over the connection. */
  actionWebSocket(params: { action: string; [name: string]: any }): Promise<Response<{ [name: string]: any }>>;
  actionWebSocket(params: { action: string; [name: string]: any }, callback: Callback<{ [name: string]: any }>): void;
  actionWebSocket(params: { action: string; [name: string]: any }, callback: ErrorFirst<{ [name: string]: any }>): void;

  /** Send a message that the server answers. */
  send(message: { event: string; [name: string]: any }): Promise<Response<{ [name: string]: any }>>;
  send(message: { event: string; [name: string]: any }, callback: Callback<{ [name: string]: any }>): void;
  send(message: { event: string; [name: string]: any }, callback: ErrorFirst<{ [name: string]: any }>): void;

  /** Say something to everybody in a room; it has to be joined. */
  say(room: string, message: any): Promise<Response<{ status: string }>>;
  say(room: string, message: any, callback: Callback<{ status: string }>): void;
  say(room: string, message: any, callback: ErrorFirst<{ status: string }>): void;

  /** Get one of the server's files. */
  file(file: string): Promise<Response<FileAnswer>>;
  file(file: string, callback: Callback<FileAnswer>): void;
  file(file: string, callback: ErrorFirst<FileAnswer>): void;

  detailsView(): Promise<Response<Answer<Details>>>;
  detailsView(callback: Callback<Answer<Details>>): void;
  detailsView(callback: ErrorFirst<Answer<Details>>): void;

  /** Learn who is in a room; it has to be joined. */
  roomView(room: string): Promise<Response<Answer<RoomDetails>>>;
  roomView(room: string, callback: Callback<Answer<RoomDetails>>): void;
  roomView(room: string, callback: ErrorFirst<Answer<RoomDetails>>): void;

  /** Join a room, now and after every reconnect. */
  roomAdd(room: string): Promise<Response<Answer<true>>>;
  roomAdd(room: string, callback: Callback<Answer<true>>): void;
  roomAdd(room: string, callback: ErrorFirst<Answer<true>>): void;

  /** Leave a room, and forget it. */
  roomLeave(room: string): Promise<Response<Answer<true>>>;
  roomLeave(room: string, callback: Callback<Answer<true>>): void;
  roomLeave(room: string, callback: ErrorFirst<Answer<true>>): void;

  /** Learn what actions there are. */
  documentation(): Promise<Response<Answer<Documentation>>>;
  documentation(callback: Callback<Answer<Documentation>>): void;
  documentation(callback: ErrorFirst<Answer<Documentation>>): void;
}
