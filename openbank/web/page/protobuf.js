// Reads and writes the messages of schema.js in protobuf's binary form. Integers of 64 bits are BigInt, so that no amount
// is ever a float.
import { MESSAGES } from "./schema.js";

const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;
const text = { encode: new TextEncoder(), decode: new TextDecoder() };

export function encode(name, value) {
  const out = [];
  for (const [field, [number, type, message, repeated]] of Object.entries(MESSAGES[name])) {
    if (value[field] === undefined) continue;
    for (const one of repeated ? value[field] : [value[field]]) write(out, number, type, message, one);
  }
  return Uint8Array.from(out);
}

function write(out, number, type, message, value) {
  const isBytes = ["string", "bytes", "message"].includes(type);
  varint(out, BigInt(number << 3 | (isBytes ? BYTES : VARINT)));
  if (!isBytes) return varint(out, BigInt.asUintN(64, BigInt(value)));
  const bytes = type === "message" ? encode(message, value) : type === "string" ? text.encode.encode(value) : value;
  varint(out, BigInt(bytes.length));
  for (const byte of bytes) out.push(byte);
}

function varint(out, value) {
  for (; value > 0x7fn; value >>= 7n) out.push(Number(value & 0x7fn) | 0x80);
  out.push(Number(value));
}

// Fields that the schema does not know are skipped; those that are not there have protobuf's defaults.
export function decode(name, bytes) {
  const fields = MESSAGES[name];
  const byNumber = new Map(Object.entries(fields).map(([field, [number, ...rest]]) => [number, [field, ...rest]]));
  const value = {};
  for (const [field, [, type, , repeated]] of Object.entries(fields)) value[field] = repeated ? [] : DEFAULTS[type];
  for (const [number, wire] of parts(bytes)) {
    const known = byNumber.get(number);
    if (!known) continue;
    const [field, type, message, repeated] = known;
    if (!repeated) value[field] = read(type, message, wire);
    else if (wire instanceof Uint8Array && !["string", "bytes", "message"].includes(type)) {
      for (const one of packed(wire)) value[field].push(read(type, message, one));
    } else value[field].push(read(type, message, wire));
  }
  return value;
}

const DEFAULTS = { string: "", bytes: new Uint8Array(), int64: 0n, int32: 0, bool: false, enum: 0, message: null };

function read(type, message, wire) {
  switch (type) {
    case "string": return text.decode.decode(wire);
    case "message": return decode(message, wire);
    case "int64": return BigInt.asIntN(64, wire);
    case "bool": return wire !== 0n;
    case "bytes": return wire;
    default: return Number(BigInt.asIntN(32, wire));
  }
}

function* parts(bytes) {
  const at = { position: 0 };
  while (at.position < bytes.length) {
    const tag = Number(next(bytes, at));
    const kind = tag & 7, number = tag >>> 3;
    if (kind === VARINT) yield [number, next(bytes, at)];
    else {
      const size = kind === BYTES ? Number(next(bytes, at)) : kind === FIXED64 ? 8 : kind === FIXED32 ? 4 : NaN;
      const end = at.position + size;
      if (!(end <= bytes.length)) throw new Error("the message is damaged");
      yield [number, bytes.subarray(at.position, end)];
      at.position = end;
    }
  }
}

function* packed(bytes) {
  for (const at = { position: 0 }; at.position < bytes.length; ) yield next(bytes, at);
}

function next(bytes, at) {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    if (at.position >= bytes.length) break;
    const byte = bytes[at.position++];
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw new Error("the message is damaged");
}
