/**
 * Records: what the zone's names may say, and how people read it.
 *
 * Pure. answer.ts chooses records, encode.ts makes bytes of them.
 */

/** A record of the zone; `name` is its owner, in the case in which it was asked for. */
export type DnsRecord = { readonly name: string; readonly ttlSeconds: number } & RecordContent;

/** What a record says, by type (RFC 1035 3.3, RFC 3596, RFC 2782). Names are without a dot at the end. */
export type RecordContent =
  | { readonly type: "A" | "AAAA"; readonly address: string }
  | { readonly type: "NS" | "PTR"; readonly target: string }
  | {
      readonly type: "SRV";
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
  /** A text over 255 bytes becomes several strings (RFC 1035 3.3.14): what a peer says of itself may be that long. */
  | { readonly type: "TXT"; readonly texts: readonly string[] }
  | {
      readonly type: "SOA";
      readonly primary: string;
      readonly contact: string;
      readonly serial: number;
      readonly refreshSeconds: number;
      readonly retrySeconds: number;
      readonly expireSeconds: number;
      readonly minimumSeconds: number;
    };

/** A record's data as zone files write it, names without the dot at the end. */
export function contentText(content: RecordContent): string {
  switch (content.type) {
    case "A":
    case "AAAA":
      return content.address;
    case "NS":
    case "PTR":
      return content.target;
    case "SRV":
      return [content.priority, content.weight, content.port, content.target].join(" ");
    case "TXT":
      return content.texts.map((text) => `"${text.replace(/["\\]/g, "\\$&")}"`).join(" ");
    case "SOA": {
      const { primary, contact, serial, refreshSeconds, retrySeconds, expireSeconds, minimumSeconds } =
        content;
      return [primary, contact, serial, refreshSeconds, retrySeconds, expireSeconds, minimumSeconds].join(
        " ",
      );
    }
  }
}
