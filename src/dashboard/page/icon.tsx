/**
 * Icon: the drawings beside words; each is one path on a grid of 20, in the colour of its text.
 *
 * Drawn here, so that nothing is fetched from anywhere and a picture costs some bytes. An icon says nothing by itself:
 * the word beside it does, and readers of the screen are spared it.
 *
 * Touches: the document, through preact.
 */

const PATHS = {
  overview: "M3 3h6v8H3zM11 3h6v5h-6zM11 10h6v7h-6zM3 13h6v4H3z",
  services: "M10 2.5 17 6v8l-7 3.5L3 14V6zM3 6l7 3.5L17 6M10 9.5v8",
  hosts: "M3 3.5h14v5H3zM3 11.5h14v5H3zM6 6h.01M6 14h.01M10 6h4M10 14h4",
  networks: "M10 7.5v3M5 13.5v-3h10v3M8 3.5h4v4H8zM3 13.5h4v3.5H3zM13 13.5h4v3.5h-4z",
  dns:
    "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM2.5 10h15" +
    "M10 2.5c2.6 2 3.4 5 3.4 7.5S12.6 15.5 10 17.5M10 2.5C7.4 4.5 6.6 7.5 6.6 10S7.4 15.5 10 17.5",
  drains: "M10 2.500c3 4 5 6.3 5 9a5 5 0 0 1-10 0c0-2.7 2-5 5-9zM8 12a2 2 0 0 0 2 2",
  events: "M3 10h3l2-6 4 12 2-6h3",
  problems: "M10 3 18 16.500H2zM10 8.500v3.500M10 14.300v.01",
  auto: "M3 4h14v9.500H3zM7 17h6M10 13.500V17",
  light:
    "M10 6.500a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.800v2M10 16.200v2M1.8 10h2M16.2 10h2" +
    "M4.2 4.200l1.4 1.400M14.4 14.400l1.4 1.400M4.2 15.800l1.4-1.400M14.4 5.600l1.4-1.4",
  dark: "M16.5 12A7 7 0 0 1 8 3.500a7 7 0 1 0 8.5 8.500z",
  search: "M8.5 3a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM12.7 12.7 17 17",
  brand: "M3 6c5-4 9 12 14 8M3 10c5-4 9 4 14 0M3 14c5 4 9-12 14-8",
} as const;

/** Names of icons. */
export type IconName = keyof typeof PATHS;

/** One icon. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 20 20" aria-hidden="true">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        stroke-width="1.5"
        stroke-linejoin="round"
        stroke-linecap="round"
      />
    </svg>
  );
}
