// The parser "json".

parsers.json = {
  binary: false,
  encode: (value) => {
    const text = JSON.stringify(value);
    if (text === undefined) throw new TypeError(`There is no JSON for ${String(value)}`);
    return text;
  },
  decode: (data) => JSON.parse(typeof data === 'string' ? data : new TextDecoder().decode(data)),
};
