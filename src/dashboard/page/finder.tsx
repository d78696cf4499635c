/**
 * Finder: the search over everything, from any page by the key "/".
 *
 * A combobox with a list (WAI-ARIA 1.2): the focus stays in the field, the arrows move through what was found, Enter
 * goes there, Escape leaves. "/" is left alone while somebody types elsewhere.
 *
 * Touches: the document, its keys, the address.
 */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import type { ServiceDetail, ServiceLine } from "../../admin/contract.ts";
import { HITS_MAX, hitsFor, ownerOf, replicaHits, type Hit } from "../search.ts";

import { useAnswer } from "./ask.ts";
import { Icon } from "./icon.tsx";
import { useStore } from "./store.ts";

const NONE: readonly ServiceLine[] = [];

/** The field and what was found. */
export function Finder() {
  const { board, traffic } = useStore();
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const [isOpen, setOpen] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => onSlash(field), []);
  const now = board.value;
  const found = useMemo(
    () => (now === null ? [] : hitsFor(text, now, traffic.peek())),
    [text, now?.version ?? 0],
  );
  const hits = withReplicas(found, useReplicas(text, now?.services ?? NONE));
  const isShown = isOpen && text.trim() !== "";
  const at = Math.min(chosen, Math.max(0, hits.length - 1));
  const leave = (): void => {
    setOpen(false);
    setText("");
    setChosen(0);
    field.current?.blur();
  };
  const go = (hit: Hit | undefined): void => {
    if (hit === undefined) return;
    location.hash = hit.address;
    leave();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const steps: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 };
    const step = steps[event.key];
    if (event.key === "Escape") leave();
    else if (event.key === "Enter") go(hits[at]);
    else if (step !== undefined && hits.length > 0) setChosen((at + step + hits.length) % hits.length);
    else return;
    event.preventDefault();
  };
  return (
    <div class="finder" role="search">
      <Icon name="search" />
      <input
        ref={field}
        type="text"
        role="combobox"
        aria-label="Search services, hosts, networks, replicas, addresses"
        aria-expanded={isShown}
        aria-controls="hits"
        aria-autocomplete="list"
        aria-activedescendant={isShown && hits.length > 0 ? `hit-${at}` : undefined}
        placeholder="Search names, addresses, hosts"
        autocomplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setChosen(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={onKeyDown}
      />
      <kbd aria-hidden="true">/</kbd>
      <HitList hits={hits} at={at} isShown={isShown} go={go} />
    </div>
  );
}

/** Replicas that the text names, which the picture does not: asked of the daemon. */
function useReplicas(text: string, services: readonly ServiceLine[]): readonly Hit[] {
  const owner = ownerOf(text, services);
  const names = [owner?.network ?? "", owner?.name ?? ""].map(encodeURIComponent);
  const answer = useAnswer<ServiceDetail>(owner === null ? null : `/api/v1/services/${names.join("/")}`, 0);
  return owner !== null && answer.kind === "told" ? replicaHits(text, answer.value) : [];
}

function withReplicas(found: readonly Hit[], replicas: readonly Hit[]): readonly Hit[] {
  const isTold = (one: Hit): boolean =>
    found.some(({ name, detail }) => name === one.name && detail === one.detail);
  return [...found, ...replicas.filter((one) => !isTold(one))].slice(0, HITS_MAX);
}

interface HitListProps {
  readonly hits: readonly Hit[];
  readonly at: number;
  readonly isShown: boolean;
  readonly go: (hit: Hit) => void;
}

function HitList({ hits, at, isShown, go }: HitListProps) {
  return (
    <>
      <ul id="hits" class="hits" role="listbox" aria-label="Found" hidden={!isShown || hits.length === 0}>
        {hits.map((hit, index) => (
          <li
            key={index}
            id={`hit-${index}`}
            role="option"
            aria-selected={index === at}
            // Not click: the field loses the focus before it, and the list with it.
            onPointerDown={(event) => {
              event.preventDefault();
              go(hit);
            }}
          >
            <span class="hit-kind">{hit.kind}</span>
            <span class="hit-name">{hit.name}</span>
            <span class="hit-detail">{hit.detail}</span>
          </li>
        ))}
      </ul>
      {isShown && hits.length === 0 && (
        <p class="hits none" role="status">
          Nothing here is called so.
        </p>
      )}
    </>
  );
}

function onSlash(field: { readonly current: HTMLInputElement | null }): () => void {
  const onKey = (event: KeyboardEvent): void => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    if (target instanceof HTMLElement && target.closest("input, select, textarea") !== null) return;
    event.preventDefault();
    field.current?.focus();
    field.current?.select();
  };
  addEventListener("keydown", onKey);
  return () => removeEventListener("keydown", onKey);
}
