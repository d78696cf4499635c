/**
 * Parts: the small things that every page is made of.
 *
 * A state is a mark and a word, never a colour alone. Names that come from containers are always children of an
 * element, which preact sets as text. What is not known is a dash.
 *
 * Touches: the document, through preact.
 */

import type { ComponentChildren } from "preact";

import type { Tone, Verdict } from "../judge.ts";
import { ago, moment } from "../words.ts";

import { useStore } from "./store.ts";

/** A state: a mark whose shape tells its tone too, and its word. */
export function Badge({ verdict, title }: { readonly verdict: Verdict; readonly title?: string }) {
  return (
    <span class={`badge ${verdict.tone}`} title={title}>
      <Mark tone={verdict.tone} />
      {verdict.word}
    </span>
  );
}

/** The mark of a tone: full, half, cross, ring. */
export function Mark({ tone }: { readonly tone: Tone }) {
  return (
    <svg class={`mark ${tone}`} viewBox="0 0 12 12" aria-hidden="true">
      {tone === "good" && <circle cx="6" cy="6" r="4" fill="currentColor" />}
      {tone === "fair" && <path d="M6 1.2 11 10.5H1z" fill="currentColor" />}
      {tone === "poor" && (
        <path d="M2.2 2.2l7.6 7.6M9.8 2.2l-7.6 7.6" stroke="currentColor" stroke-width="2.4" fill="none" />
      )}
      {tone === "idle" && (
        <circle cx="6" cy="6" r="3.6" stroke="currentColor" stroke-width="1.6" fill="none" />
      )}
    </svg>
  );
}

/** How long ago, with the moment as a title. */
export function Since({ ms }: { readonly ms: number }) {
  const { nowMs } = useStore();
  return (
    <time dateTime={new Date(ms).toISOString()} title={moment(ms)}>
      {ago(ms, nowMs.value)}
    </time>
  );
}

/** What stands where there is nothing, and why that is so. */
export function Empty({
  title,
  children,
}: {
  readonly title: string;
  readonly children?: ComponentChildren;
}) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children !== undefined && <p>{children}</p>}
    </div>
  );
}

/** What stands where an answer will be. */
export function Loading() {
  return (
    <>
      <p class="unseen" role="status">
        Loading …
      </p>
      <span class="ghost tall" aria-hidden="true" />
    </>
  );
}

interface CardProps {
  readonly title: string;
  /** What stands at the right of the title. */
  readonly aside?: ComponentChildren;
  readonly class?: string;
  readonly children: ComponentChildren;
}

/** A part of a page with a title of its own. */
export function Card({ title, aside, children, class: more = "" }: CardProps) {
  return (
    <section class={`card ${more}`} aria-label={title}>
      <header class="card-head">
        <h2>{title}</h2>
        {aside !== undefined && <div class="card-aside">{aside}</div>}
      </header>
      {children}
    </section>
  );
}

interface TitleProps {
  readonly title: string;
  /** The list that it belongs to. */
  readonly above?: { readonly text: string; readonly address: string };
  readonly children?: ComponentChildren;
}

/** A page's title; `tabIndex` so that the focus can follow a change of page. */
export function Title({ title, above, children }: TitleProps) {
  return (
    <div class="title">
      <div>
        {above !== undefined && (
          <a class="above" href={above.address}>
            {above.text}
          </a>
        )}
        <h1 tabIndex={-1}>{title}</h1>
      </div>
      {children}
    </div>
  );
}

/** Pairs of a word and what it means here. */
export function Facts({ facts }: { readonly facts: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value === null || value === "" ? "–" : value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A table that scrolls by itself where the screen is narrower than it. */
export function TableBox({
  label,
  children,
}: {
  readonly label: string;
  readonly children: ComponentChildren;
}) {
  return (
    <div class="table-box" role="group" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}

/** A share of a whole, as a bar: `ready` of `replicas`. */
export function Share({ part, of }: { readonly part: number; readonly of: number }) {
  const tone: Tone = of === 0 ? "idle" : part === 0 ? "poor" : part < of ? "fair" : "good";
  const width = of === 0 ? 0 : Math.round((part / of) * 40);
  return (
    <span class="share">
      <svg class={`bar ${tone}`} viewBox="0 0 40 6" aria-hidden="true" preserveAspectRatio="none">
        <rect class="bar-rest" width="40" height="6" rx="3" />
        <rect width={width} height="6" rx="3" fill="currentColor" />
      </svg>
      <span class="num">
        {part}
        <span class="of">/{of}</span>
      </span>
    </span>
  );
}
