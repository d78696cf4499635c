/**
 * Engine: what a Docker engine says of itself.
 *
 * For people only: the source asks it, doctor tells it, and nothing is decided by it.
 *
 * Pure.
 */

/** One engine, field by field; null and empty where it does not say. */
export interface EngineDescription {
  readonly version: string;
  readonly api: string;
  readonly operatingSystem: string;
  /** What its firewall is made with: `iptables`, `nftables`; empty for engines before 29, which know iptables alone. */
  readonly firewall: string;
  readonly liveRestore: boolean | null;
  readonly isRootless: boolean;
  /** True where it is part of a Swarm. */
  readonly inSwarm: boolean;
  /** Ranges from which it was told to take networks (`default-address-pools`), as IPv4 prefixes. */
  readonly pools: readonly string[];
}
