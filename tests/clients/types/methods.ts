// Everything that the client has, as strict TypeScript: this must compile. It is never run.

{
  const client = new ActionheroWebsocketClient({
    url: 'https://example.com', apiPath: '/api', cookieKey: '', responseTimeout: 1000,
    reconnect: { max: Infinity, min: 100, retries: 5, 'reconnect timeout': 1000, factor: 2 },
    timeout: 1, ping: 0, pong: 1, strategy: ['online', 'timeout'], manual: true, websockets: false, network: true,
    transport: {}, queueSize: 10, transformer: 'engine.io',
  });

  type CallError = ActionheroWebsocketClient.CallError;

  // Events, each with what its listeners get.
  client.on('connected', () => {});
  client.on('disconnected', () => {});
  client.on('reconnect', () => {});
  client.on('timeout', () => {});
  client.on('error', (error) => { const texts: (string | undefined)[] = [error.stack, error.code]; });
  client.on('reconnecting', ({ attempt, scheduled }) => { const sum: number = attempt + scheduled; });
  client.on('message', (message) => message.anything);
  client.on('alert', (message) => message.anything);
  client.on('api', (message) => message.anything);
  client.on('welcome', ({ welcome }) => welcome);
  client.on('say', ({ from, room, message, sentAt }) => { const said: [string, number] = [from + room, sentAt]; });
  client.on('stale', (own, servers) => { const text: string = own + servers; });
  client.on('refused', ({ status, reason }) => { const is: boolean = status === 403 && reason === 'no'; });
  client.on('dropped', (message) => message.anything);
  client.on('transport', (name) => { const is: boolean = name === 'polling'; });
  client.on('of an application', (first: number, second) => {});
  const told: boolean = client.once('connected', () => {}).off('connected').removeAllListeners().emit('connected');
  client.addListener('say', () => {}).removeListener('say', () => {});
  const count: number = client.listenerCount('say') + client.listeners('say').length + client.eventNames().length;

  // Its state.
  const state: 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'timeout' = client.state;
  const id: string | null = client.id;
  const fingerprint: string | null = client.fingerprint;
  const since: number | undefined = client.details?.connectedAt;
  const rooms: string[] = client.rooms;
  const transport: 'websocket' | 'polling' | undefined = client.transport;
  const last: number = client.messageId;
  client.callbacks.mine = (response) => response.anything;
  const apiPath: string | undefined = client.options.apiPath;
  const external: boolean = client.externalClient;
  const welcome = client.welcomeMessage;

  // Connecting.
  client.connect((error, details) => {
    if (error) {
      const why: string = error.code;
      const refused: boolean | undefined = error.refused;
    } else {
      const mine: string = details.data.id;
    }
  });
  client.connect().then(({ data }) => { const list: string[] = data.rooms; });
  client.disconnect();

  // Actions that the server has: by promise, by a callback with one parameter, by one with two.
  async function actions() {
    const { cacheTestResults } = await client.action('cacheTest', { key: 'a', value: 'b' });
    await client.action('cacheTest', { key: 'a', value: 'b', apiVersion: 1, httpMethod: 'GET' });
    await client.action('randomNumber');
    await client.action('randomNumber', {});
    await client.action('randomNumber', null);
    await client.action('sleepTest', { sleepDuration: 5 });
  }
  client.action('cacheTest', { key: 'a', value: 'b' }, (response) => {
    if (response.error) {
      const error: string | Error = response.error;
    } else {
      const results = response.cacheTestResults;
    }
  });
  client.action('cacheTest', { key: 'a', value: 'b' }, (error: CallError | null, data: any) => data.cacheTestResults);
  client.action('randomNumber', (response) => response.randomNumber);
  client.action('randomNumber', (error: CallError | null, data: any) => data.randomNumber);
  client.action('randomNumber', {}, (response) => response.randomNumber);

  // Other actions.
  client.action('someAction', { key: 'k', value: 1 }).then((response) => response.anything);
  client.action('someAction', (response) => response.anything);
  client.action('someAction', { key: 'k' }, (error: CallError | null, data: any) => {});
  const name: string = prompt('Which?') ?? '';
  client.action(name, { key: 'k' });
  client.actionWeb({ action: 'someAction', key: 'k' }).then((response) => response.anything);
  client.actionWeb({ action: 'someAction' }, (response) => response.anything);
  client.actionWebSocket({ action: 'someAction' }, (error: CallError | null, data: any) => {});

  // Verbs.
  async function verbs() {
    const { status } = await client.say('room', { any: 'thing' });
    const { content, mime, length, lastModified } = await client.file('simple.html');
    const { data: details } = await client.detailsView();
    const pending: number = details.pendingActions;
    const { data: view } = await client.roomView('room');
    const joined: number[] = Object.values(view.members).map(({ joinedAt }) => joinedAt);
    const inside: true = (await client.roomAdd('room')).data;
    const outside: true = (await client.roomLeave('room')).data;
    const { data: documentation } = await client.documentation();
    const required: boolean = documentation['cacheTest']['1'].inputs['key'].required;
    const { anything } = await client.send({ event: 'verb', anything: 1 });
  }
  client.say('room', 'hi', (response) => response.status);
  client.say('room', 'hi', (error: CallError | null, response: any) => {});
  client.file('simple.html', (file) => { if (!file.error) { const text: string = file.content; } });
  client.detailsView((response) => { if (!response.error) { const mine: string = response.data.id; } });
  client.roomView('room', (error: CallError | null, response: any) => {});
  client.roomAdd('room', (response) => response.error);
  client.roomLeave('room', (response) => response.error);
  client.documentation((response) => response.error);
  client.send({ event: 'verb' }, (response) => response.anything);

  // Primus.
  const primus = new Primus('https://example.com', { strategy: false, pingTimeout: false });
  const others: ActionheroWebsocketClient.Primus[] = [
    Primus.connect(), Primus.connect('https://example.com'), Primus({ manual: true }),
  ];
  const shared = new ActionheroWebsocketClient({}, primus);
  const under: ActionheroWebsocketClient.Primus | null = shared.primus ?? shared.client;
  primus.on('open', () => {});
  primus.on('data', (message) => message.anything);
  primus.on('error', ({ message, refused }) => {});
  primus.on('close', (why) => { const code: number | undefined = why?.code; });
  for (const event of ['end', 'timeout', 'destroy', 'online', 'offline'] as const) primus.on(event, () => {});
  primus.on('readyStateChange', (word) => word.length);
  primus.on('reconnect', ({ attempt, retries }) => attempt < retries);
  primus.on('reconnect scheduled', ({ scheduled, duration, start, min, max, factor }) => scheduled + duration);
  primus.on('reconnected', ({ duration }) => duration);
  primus.on('reconnect timeout', (error, attempt) => error.message + attempt.attempt);
  primus.on('reconnect failed', (error, attempt) => error.message + attempt.attempt);
  primus.on('refused', ({ status }) => status);
  primus.on('stale', (own, servers) => own === servers);
  primus.on('dropped', (message) => message);
  primus.on('transport', (word) => word === 'websocket');
  primus.on('an event of the server', (first, answer) => answer(first));
  primus.open().end('bye');
  const written: boolean = primus.write({ any: 'thing' });
  primus.send('event', 1, 'two', (answer: string) => {});
  primus.call('event', 1).then((answer) => answer.anything);
  primus.id((text) => text.length);
  primus.transform('incoming', (packet) => { packet.data = 1; });
  primus.transform('outgoing', (packet, next) => next(undefined, false));
  const reserved: boolean = primus.reserved('open');
  const open: boolean = primus.readyState === Primus.OPEN || primus.readyState === Primus.OPENING;
  const emitter = new Primus.EventEmitter();
  emitter.on('anything', (first) => first);
  const done: boolean = primus.destroy();
}
