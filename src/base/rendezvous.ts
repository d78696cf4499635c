/**
 * Rendezvous: which upstream belongs to a client's address?
 *
 * Highest random weight hashing (Thaler and Ravishankar, 1998): every pair of client and upstream has a score, and the
 * highest score has the client. No ring and no table: when an upstream leaves only its own clients move, each to the
 * second best in its own order, and every host comes to the same answer by itself. With weights a score is
 * `-weight / ln(hash)` (Schindelhauer and Schomaker, 2005): then shares are as the weights, and a change of one weight
 * moves clients to or from that upstream alone.
 *
 * A client may choose its address, so it may choose its upstream: these are no secrets, and the hash is a quick one.
 *
 * Pure.
 */

/** Two hashes of a replica's id: two replicas that share one differ in the other. */
export interface Place {
  readonly first: number;
  readonly second: number;
}

/** Where an upstream stands, by the id of its replica. */
export function placeOf(id: string): Place {
  return { first: hashOf(id, 0x811c9dc5), second: hashOf(id, 0x9747b28c) };
}

/** Where a client stands, by its address. */
export function clientPlace(address: string): number {
  return hashOf(address, 0x811c9dc5);
}

/** A number in 0..2^32-1 that belongs to a client and an upstream: the highest one wins where weights are equal. */
export function evenScore(client: number, { first, second }: Place): number {
  return mixed(mixed(client ^ first) ^ second) >>> 0;
}

/** The same where weights differ. */
export function weightedScore(client: number, place: Place, weight: number): number {
  return -weight / Math.log((evenScore(client, place) + 0.5) / 0x1_0000_0000);
}

/** FNV-1a with 32 bits, over UTF-16 code units: ids and addresses are ASCII. */
function hashOf(text: string, basis: number): number {
  let hash = basis;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash;
}

/** The finalizer of MurmurHash3, 32 bits: every bit of the input moves half of the output's. */
function mixed(input: number): number {
  let bits = input;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
