/**
 * Route: which page an address means, and the address of each page.
 *
 * The address is the part after the `#`: whoever serves the page never sees it, so any page can be reloaded, kept and
 * sent to somebody, and the daemon needs one path for all. What is filtered or sought is in it too. Names are encoded
 * part by part, for a name may hold any character. An address that means nothing is a page of its own.
 *
 * Pure.
 */

/** The pages, in the order of the navigation; those of one thing are reached from their list. */
export const PAGES = [
  "overview",
  "services",
  "hosts",
  "networks",
  "dns",
  "drains",
  "events",
  "problems",
] as const;

/** A page of the navigation. */
export type PageName = (typeof PAGES)[number];

/** Where the reader is. `asked`: what stands behind the `?`, such as `state` and `q`. */
export type Route =
  | { readonly kind: "page"; readonly page: PageName; readonly asked: Readonly<Record<string, string>> }
  | { readonly kind: "service"; readonly network: string; readonly name: string }
  | { readonly kind: "host"; readonly name: string }
  | { readonly kind: "network"; readonly name: string }
  | { readonly kind: "unknown"; readonly address: string };

/** Reads the part of an address from the `#` on. */
export function routeOf(hash: string): Route {
  const bare = hash.replace(/^#/, "");
  const mark = bare.indexOf("?");
  const path = mark === -1 ? bare : bare.slice(0, mark);
  const parts = path.split("/").filter((part) => part !== "");
  const names = parts.map(decoded);
  const unknown = { kind: "unknown", address: bare } as const;
  if (names.includes(null)) return unknown;
  const [page = "overview", first, second] = names as readonly string[];
  if (parts.length <= 1) return isPage(page) ? { kind: "page", page, asked: askedIn(bare, mark) } : unknown;
  if (page === "services" && parts.length === 3)
    return { kind: "service", network: first ?? "", name: second ?? "" };
  if (page === "hosts" && parts.length === 2) return { kind: "host", name: first ?? "" };
  return page === "networks" && parts.length === 2 ? { kind: "network", name: first ?? "" } : unknown;
}

/** The address of a page; what is asked for and empty is left out. */
export function pageAddress(page: PageName, asked: Readonly<Record<string, string>> = {}): string {
  const given = Object.entries(asked).filter(([, value]) => value !== "");
  const query = given.map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
  const path = page === "overview" ? "#/" : `#/${page}`;
  return query.length === 0 ? path : `${path}?${query.join("&")}`;
}

/** The address of a service's page, by its key `<network>/<name>`. */
export function serviceAddress(key: string): string {
  const slash = key.indexOf("/");
  const parts = slash === -1 ? [key] : [key.slice(0, slash), key.slice(slash + 1)];
  return `#/services/${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

/** The address of a host's page. */
export function hostAddress(name: string): string {
  return `#/hosts/${encodeURIComponent(name)}`;
}

/** The address of a network's page. */
export function networkAddress(name: string): string {
  return `#/networks/${encodeURIComponent(name)}`;
}

/** The page of the navigation that a route belongs to; null for none. */
export function pageOf(route: Route): PageName | null {
  switch (route.kind) {
    case "page":
      return route.page;
    case "service":
      return "services";
    case "host":
      return "hosts";
    case "network":
      return "networks";
    case "unknown":
      return null;
  }
}

function isPage(name: string): name is PageName {
  return (PAGES as readonly string[]).includes(name);
}

function askedIn(bare: string, mark: number): Readonly<Record<string, string>> {
  if (mark === -1) return {};
  const pairs = bare
    .slice(mark + 1)
    .split("&")
    .map((pair) => {
      const at = pair.indexOf("=");
      return at === -1 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
    });
  const read = pairs.map(([key = "", value = ""]) => [decoded(key), decoded(value)] as const);
  // Without a prototype: `?constructor=x` is a key as any other.
  const asked: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, value] of read) if (key !== null && value !== null) asked[key] = value;
  return asked;
}

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    // A lone "%": somebody typed it, or cut the address short.
    return null;
  }
}
