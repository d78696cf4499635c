// First messages of TLS clients, made by hand: what a test wants in them, in as many records as it likes.

/** What a message says. */
export interface HelloParts {
  /** Names by type and bytes; the type of a host's name is 0. */
  readonly names?: readonly { readonly type: number; readonly name: Buffer }[];
  readonly protocols?: readonly string[];
  /** Bytes of an extension that nobody knows. */
  readonly padding?: number;
  /** Without any extensions, as of old. */
  readonly isBare?: boolean;
}

/** A name of a host. */
export function hostName(text: string): { readonly type: number; readonly name: Buffer } {
  return { type: 0, name: Buffer.from(text, "latin1") };
}

/** The message without records. */
export function renderHello(parts: HelloParts): Buffer {
  const { names = [], protocols = [], padding = 0, isBare = false } = parts;
  const extensions = [
    extension(0x2a2a, Buffer.alloc(padding)),
    ...(names.length === 0
      ? []
      : [
          extension(
            0,
            counted(
              2,
              ...names.map(({ type, name }) => Buffer.concat([Buffer.from([type]), counted(2, name)])),
            ),
          ),
        ]),
    ...(protocols.length === 0
      ? []
      : [
          extension(
            16,
            counted(2, ...protocols.map((protocol) => counted(1, Buffer.from(protocol, "latin1")))),
          ),
        ]),
  ];
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    counted(1, Buffer.alloc(32, 9)),
    counted(2, Buffer.from([0x13, 1, 0x13, 2])),
    counted(1, Buffer.from([0])),
    ...(isBare ? [] : [counted(2, ...extensions)]),
  ]);
  const head = Buffer.alloc(4);
  head[0] = 1;
  head.writeUIntBE(body.length, 1, 3);
  return Buffer.concat([head, body]);
}

/** A message in records of at most so many bytes. */
export function inRecords(message: Buffer, recordBytes = 16_384): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += recordBytes) {
    records.push(Buffer.from([22, 3, 1]), counted(2, message.subarray(at, at + recordBytes)));
  }
  return Buffer.concat(records);
}

function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type >> 8, type & 0xff]), counted(2, body)]);
}

function counted(lengthBytes: 1 | 2, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(lengthBytes);
  length.writeUIntBE(body.length, 0, lengthBytes);
  return Buffer.concat([length, body]);
}
