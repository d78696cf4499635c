/**
 * DNS: what is asked and answered, and a question put to the daemon as somebody else would put it.
 *
 * What a name means depends on who asks: a container sees the networks it is on. So the form has a field for the asker,
 * and the answer says who was taken for it. Nothing is asked before somebody presses the button or Enter, except the
 * first question, which is what the page is opened for.
 *
 * Touches: the document, through preact.
 */

import { useState } from "preact/hooks";

import type { DnsTraffic } from "../../admin/contract-live.ts";
import type { ResolveReport } from "../../admin/contract.ts";
import { short } from "../words.ts";

import { useAnswer, type Answer } from "./ask.ts";
import { DnsChart } from "./charts.tsx";
import { Card, Empty, Title } from "./parts.tsx";
import { useBoard, useStore } from "./store.ts";
import { Table, type Column } from "./table.tsx";

const TYPES = ["A", "AAAA", "SRV", "PTR", "TXT", "SOA", "NS", "ANY"];

const RECORDS: readonly Column<ResolveReport["answers"][number]>[] = [
  { name: "Type", cell: ({ type }) => type },
  { name: "Seconds", cell: ({ ttl }) => ttl, class: "right num" },
  { name: "Answer", cell: ({ data }) => data },
];

/** The page. */
export function Dns({ asked }: { readonly asked: Readonly<Record<string, string>> }) {
  const board = useBoard();
  const { traffic } = useStore();
  const first = board.services[0];
  const name = asked["name"] ?? (first === undefined ? "" : `${first.name}.${first.network}`);
  return (
    <>
      <Title title="DNS">
        <span class="quiet">answers on {board.status.listen.dns.join(", ") || "no address"}</span>
      </Title>
      <div class="split">
        <AskDns names={name === "" ? [] : [name]} askers={[]} />
        <div class="stack">
          <DnsChart />
          <Kinds dns={traffic.value?.dns ?? null} />
        </div>
      </div>
    </>
  );
}

function Kinds({ dns }: { readonly dns: DnsTraffic | null }) {
  return (
    <div class="split tight">
      <Card title="By answer">
        <Bars rates={dns?.byCode ?? {}} />
      </Card>
      <Card title="By source">
        <Bars rates={dns?.bySource ?? {}} />
      </Card>
    </div>
  );
}

function Bars({ rates }: { readonly rates: Readonly<Record<string, number>> }) {
  const all = Object.entries(rates)
    .filter(([, rate]) => rate > 0)
    .toSorted(([, a], [, b]) => b - a);
  const most = Math.max(...all.map(([, rate]) => rate), 1);
  if (all.length === 0) return <Empty title="No questions now" />;
  return (
    <ul class="bars">
      {all.map(([name, rate]) => (
        <li key={name}>
          <span>{name}</span>
          <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
            <rect width={(rate / most) * 100} height="6" fill="currentColor" />
          </svg>
          <span class="num">{short(rate)}/s</span>
        </li>
      ))}
    </ul>
  );
}

interface AskProps {
  /** Names worth asking; the first is asked at once. */
  readonly names: readonly string[];
  /** Containers of this host. */
  readonly askers: readonly string[];
}

interface Question {
  readonly name: string;
  readonly type: string;
  readonly as: string;
}

/** A question, and what DNS answers to it. */
export function AskDns({ names, askers }: AskProps) {
  const [draft, setDraft] = useState<Question>({ name: names[0] ?? "", type: "A", as: "" });
  const [question, setQuestion] = useState({ ...draft, asked: 0 });
  const answer = useAnswer<ResolveReport>(pathOf(question), question.asked);
  const put = (next: Question): void => {
    setDraft(next);
    setQuestion({ ...next, asked: question.asked + 1 });
  };
  return (
    <Card title="What DNS answers">
      <AskForm draft={draft} setDraft={setDraft} put={put} names={names} askers={askers} />
      {question.name === "" ? (
        <Empty title="No question yet" />
      ) : (
        <div aria-live="polite" data-testid="answer">
          <Told answer={answer} />
        </div>
      )}
    </Card>
  );
}

interface FormProps extends AskProps {
  readonly draft: Question;
  readonly setDraft: (draft: Question) => void;
  readonly put: (question: Question) => void;
}

function AskForm({ draft, setDraft, put, names, askers }: FormProps) {
  return (
    <form
      class="ask"
      onSubmit={(event) => {
        event.preventDefault();
        put(draft);
      }}
    >
      <label class="grow">
        <span>Name</span>
        <input
          type="text"
          list="dns-names"
          spellcheck={false}
          autocomplete="off"
          value={draft.name}
          onInput={(event) => setDraft({ ...draft, name: event.currentTarget.value })}
        />
      </label>
      <label>
        <span>Type</span>
        <select value={draft.type} onChange={(event) => put({ ...draft, type: event.currentTarget.value })}>
          {TYPES.map((type) => (
            <option key={type}>{type}</option>
          ))}
        </select>
      </label>
      <label class="grow">
        <span>Asked by</span>
        <input
          type="text"
          list="dns-askers"
          placeholder="this host, or a container"
          spellcheck={false}
          autocomplete="off"
          value={draft.as}
          onInput={(event) => setDraft({ ...draft, as: event.currentTarget.value })}
        />
      </label>
      <button type="submit" class="primary">
        Ask
      </button>
      <datalist id="dns-names">
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <datalist id="dns-askers">
        {askers.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </form>
  );
}

function pathOf({ name, type, as }: Question): string | null {
  if (name.trim() === "") return null;
  const query = new URLSearchParams({ name: name.trim(), type });
  if (as.trim() !== "") query.set("as", as.trim());
  return `/api/v1/resolve?${query.toString()}`;
}

function Told({ answer }: { readonly answer: Answer<ResolveReport> }) {
  if (answer.kind === "asking") return <p class="quiet pad">Asking …</p>;
  if (answer.kind === "failed") return <p class="note poor">{answer.text}</p>;
  const { rcode, answers, note, as, name, type } = answer.value;
  return (
    <>
      <p class="pad">
        <b class={rcode === "NOERROR" ? "good-text" : "bad-text"}>{rcode}</b>{" "}
        <span class="quiet">
          to {as}, for {name} {type}
        </span>
      </p>
      {note !== undefined && <p class="note fair">{note}</p>}
      {answers.length === 0 ? (
        <p class="quiet pad">No record of this type.</p>
      ) : (
        <Table
          class="plain mono"
          columns={RECORDS}
          rows={answers}
          // Two records may be the same in all that is told.
          keyOf={(_, at) => at}
        />
      )}
    </>
  );
}
