'use strict';
// Decodes MessagePack with the generated client's parser, and encodes it again.
//
//   node generated_msgpack.cjs SOURCES FILE
//
// SOURCES: a file with JavaScript that fills `parsers`. FILE: values, one a line, in hexadecimal; so are the answers.

const fs = require('node:fs');
const vm = require('node:vm');
const { record } = require('./tape.cjs');

const [sources, file] = process.argv.slice(2);
const parsers = Object.create(null);
vm.compileFunction(fs.readFileSync(sources, 'utf8'), ['wires', 'parsers'], { filename: sources })(Object.create(null), parsers);

fs.readFileSync(file, 'utf8').trim().split('\n').forEach((line) => {
  const value = parsers.msgpack.decode(new Uint8Array(Buffer.from(line, 'hex')));
  record({ again: Buffer.from(parsers.msgpack.encode(value)).toString('hex') });
});
