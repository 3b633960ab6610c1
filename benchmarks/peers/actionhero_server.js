// ActionHero on Node: node actionhero_server.js PORT   (npm: actionhero ioredis-mock)
// Its defaults, but for what a benchmark can't have: no Redis (ioredis-mock keeps in memory what ActionHero's cluster
// would share), no log of every action, and no files written. The action randomNumber is the one of its own package.
const path = require('path'), fs = require('fs'), os = require('os');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'actionhero-'));
fs.mkdirSync(path.join(folder, 'dist', 'config'), { recursive: true });
fs.writeFileSync(path.join(folder, 'package.json'), '{"name": "peer", "version": "1.0.0"}');
fs.writeFileSync(path.join(folder, 'dist', 'config', 'project.js'), `
const redis = { konstructor: require(${JSON.stringify(require.resolve('ioredis-mock'))}), args: [], buildNew: true };
exports.DEFAULT = {
  routes: () => ({}),
  general: () => ({ paths: { log: [], public: [${JSON.stringify(folder)}], plugin: [] } }),
  redis: () => ({ _toExpand: false, client: redis, subscriber: redis, tasks: redis }),
  web: () => ({ bindIP: '127.0.0.1' }),
  websocket: () => ({ clientJsName: undefined }),
};`);
process.env.PORT = process.argv[2];
process.env.LOG_LEVEL = 'error';
process.chdir(folder);
const { Process } = require('actionhero');
const app = new Process();
app.registerProcessSignals((code) => { fs.rmSync(folder, { recursive: true, force: true }); process.exit(code); });
app.start().catch((error) => { console.error(error); process.exit(1); });
