/**
 * Events: what happened, newest first, as a timeline by minutes, filtered by words and by how grave it is.
 *
 * Touches: the document, the address.
 */

import { useState } from "preact/hooks";

import type { EventLine } from "../../admin/contract.ts";
import { chosenEvents, minutesOf } from "../timeline.ts";
import { pageAddress } from "../route.ts";
import { clock, count, moment } from "../words.ts";

import { Empty, Mark, Title } from "./parts.tsx";
import { useBoard } from "./store.ts";

const PAGE = 200;

/** The page. */
export function Events({ asked }: { readonly asked: Readonly<Record<string, string>> }) {
  const { events } = useBoard();
  const [shown, setShown] = useState(PAGE);
  const text = asked["q"] ?? "";
  const isGrave = asked["level"] === "warn";
  const chosen = chosenEvents(events, { text, isGrave });
  const ask = (more: Readonly<Record<string, string>>): void =>
    location.replace(pageAddress("events", { ...asked, ...more }));
  return (
    <>
      <Title title="Events">
        <span class="quiet" role="status">
          {chosen.length === events.length
            ? count(events.length, "event")
            : `${chosen.length} of ${count(events.length, "event")}`}
        </span>
      </Title>
      <div class="filters">
        <input
          type="search"
          aria-label="Filter events"
          placeholder="Filter by words: a name, a host, a kind"
          value={text}
          spellcheck={false}
          onInput={(event) => ask({ q: event.currentTarget.value })}
        />
        <div class="chips" role="group" aria-label="Level">
          <button type="button" class="chip" aria-pressed={!isGrave} onClick={() => ask({ level: "" })}>
            all
          </button>
          <button
            type="button"
            class="chip"
            aria-pressed={isGrave}
            onClick={() => ask({ level: isGrave ? "" : "warn" })}
          >
            warnings
          </button>
        </div>
      </div>
      {chosen.length === 0 ? (
        <Empty title={events.length === 0 ? "Nothing happened yet" : "No event fits"} />
      ) : (
        <section class="card" aria-label="Timeline">
          <ol class="minutes" data-testid="events">
            {minutesOf(chosen.slice(0, shown)).map((minute) => (
              <li key={minute.atMs}>
                <h2 class="minute">{moment(minute.atMs).slice(0, -3)}</h2>
                <EventList events={minute.events} />
              </li>
            ))}
          </ol>
        </section>
      )}
      {chosen.length > shown && (
        <button type="button" class="more" onClick={() => setShown(shown + PAGE)}>
          Show {Math.min(PAGE, chosen.length - shown)} older
        </button>
      )}
    </>
  );
}

/** Events in the order given. */
export function EventList({ events }: { readonly events: readonly EventLine[] }) {
  if (events.length === 0) return <Empty title="Nothing happened lately" />;
  return (
    <ol class="events">
      {events.map((event) => (
        <li key={event.id} class={event.level}>
          <Mark tone={event.level === "warn" ? "fair" : "idle"} />
          <time class="num" dateTime={new Date(event.atMs).toISOString()} title={moment(event.atMs)}>
            {clock(event.atMs)}
          </time>
          <span class="event-text">
            <b>{event.subject}</b> {event.text}
          </span>
          <span class="event-kind">{event.kind}</span>
        </li>
      ))}
    </ol>
  );
}
