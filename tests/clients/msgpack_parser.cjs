'use strict';
// A Primus parser (https://github.com/primus/primus#parsers) that speaks MessagePack by npm primus-msgpack.
// Primus' own parser "binary" is BinaryPack, which is another format: its strings carry other type bytes.

const msgpack = require('primus-msgpack');

exports.encoder = function encoder(data, done) {
  let error;
  try { data = msgpack.encode(data); } catch (e) { error = e; }
  done(error, data);
};

exports.decoder = function decoder(data, done) {
  let error;
  try { data = msgpack.decode(data); } catch (e) { error = e; }
  done(error, data);
};

// The two functions travel as source text to the client; this declares there what they refer to.
exports.library = "var msgpack = Primus.requires('primus-msgpack');";
