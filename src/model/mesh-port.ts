/**
 * Mesh port: what both sides of it must hold alike, as constants.
 *
 * The mesh opens the port and trust calls it to join; neither imports the other, and a name that one of them spelt
 * otherwise would keep every new host out.
 *
 * Pure.
 */

/** The port of a host that is named without one. */
export const MESH_PORT = 7650;

/** The protocol of who asks to join or to renew, in the TLS handshake (ALPN, RFC 7301). */
export const JOIN_ALPN = "skein-join/1";

/** What both ends of one such connection have and nobody else: this many bytes under this label (RFC 8446 7.5). */
export const JOIN_BINDING_LABEL = "EXPORTER-skein-join";
export const JOIN_BINDING_BYTES = 32;
