// Takes in the generated client as any program would, `import` or `require`, with nothing prepared for it.
//
//   node generated_module.mjs FILE URL

import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(import.meta.url);
const { record, next, main } = require('./tape.cjs');

const [file, url] = process.argv.slice(2).map((text, index) => (index ? text : path.resolve(text)));
const taken = file.endsWith('.mjs') ? await import(pathToFileURL(file)) : require(file);
const { Primus, ActionheroWebsocketClient } = taken;

main(async () => {
  record({ same: taken.default === ActionheroWebsocketClient && typeof ActionheroWebsocketClient === 'function' });
  const client = new Primus(url);
  client.on('error', (error) => process.stderr.write(`${error.stack}\n`));
  client.write({ hello: 'wörld' });
  record({ got: (await next(client, 'data'))[0] });
  record({ transport: client.transport });
});
