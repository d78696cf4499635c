// Metrics: Prometheus scrapes real daemons, and every alert and every panel that we ship finds what it asks for there.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { parse } from "yaml";

import { anchorsOf, pages } from "../docs/pages.ts";
import { prometheusMissing, type Prometheus } from "../support/prometheus.ts";
import { until } from "../support/wait.ts";

import { openScene } from "./metrics-scene.ts";
import { startPrometheus } from "./prometheus.ts";

const ROOT = join(import.meta.dirname, "../..");
const RULES = join(ROOT, "config/prometheus/alerts.yaml");
const missing = prometheusMissing();

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
}

const ALERTS = (
  parse(readFileSync(RULES, "utf8")) as { groups: readonly { rules: readonly Alert[] }[] }
).groups
  .flatMap(({ rules }) => rules)
  .map((alert) => ({ ...alert, asked: alert.expr.replace(/ (?:>|<|==) [\d.]+$/, "") }));

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

const PANELS = (
  JSON.parse(readFileSync(join(ROOT, "config/grafana/skein.json"), "utf8")) as { panels: readonly Panel[] }
).panels;

/** Queries of the dashboard as Grafana sends them with everything chosen. */
const DRAWN = PANELS.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => {
    const asked = expr.replaceAll(/\$(?:instance|service)/g, ".*").replaceAll("$__rate_interval", "1m");
    return { title, asked };
  }),
);

/** Metrics that this test cannot move (the lab moves the kernel's), and why; a query of one alone gives nothing. */
const NOT_HERE: Readonly<Record<string, string>> = {
  skein_kernel_connections_total: "counted by nftables, which takes the right to change the host's rules",
  skein_gossip_refused_total: "takes a member that lies",
};

/** Promised metrics as queries that give more than 0 once it has happened. */
const MOVED: readonly string[] = [
  "skein_build_info",
  'skein_members{state="alive"} == 2',
  'skein_gossip_messages_total{direction="in"}',
  'skein_gossip_messages_total{direction="out"}',
  'skein_gossip_bytes_total{direction="in"}',
  "skein_gossip_propagation_seconds_count",
  "skein_gossip_propagation_seconds_sum",
  "skein_view_version",
  "skein_services == 4",
  'skein_replicas{state="eligible"}',
  'skein_service_ready_replicas{service="default/web"} == 2',
  'skein_dns_queries_total{qtype="A",rcode="NOERROR",source=~"zone|cache"}',
  'skein_dns_queries_total{rcode="NXDOMAIN"}',
  "skein_dns_query_duration_seconds_count",
  'skein_proxy_connections_total{service="default/db",result="connected"}',
  'skein_proxy_requests_total{service="default/web",code="200"}',
  'skein_proxy_requests_total{service="default/bad",code="500"}',
  'skein_proxy_request_duration_seconds_count{service="default/web"}',
  'skein_proxy_retries_total{service="default/web",reason="late"}',
  'skein_proxy_received_bytes_total{service="default/db"}',
  'skein_proxy_sent_bytes_total{service="default/db"}',
  'skein_upstream_ejections_total{service="default/web"}',
  'skein_proxy_datagrams_total{service="default/echo"}',
  'skein_proxy_refused_total{reason="no-route"}',
  "skein_mesh_refused_total",
  "skein_trace_spans_dropped_total",
  "skein_certificate_end_timestamp_seconds > time()",
  'skein_event_loop_delay_seconds{quantile="1"}',
  "process_resident_memory_bytes",
  "process_cpu_seconds_total",
  "process_open_fds",
];

/** Labels whose values are closed sets, services, or facts of the daemon. */
const LABELS: ReadonlySet<string> = new Set(
  "code direction kind le node part qtype quantile rcode reason result service source state version".split(
    " ",
  ),
);

test(
  "metrics: rules and dashboard are whole: promtool, what to do, and where that is written",
  { skip: missing ?? false },
  () => {
    const checked = spawnSync("promtool", ["check", "rules", "--lint-fatal", RULES], { encoding: "utf8" });
    assert.equal(checked.status, 0, `${checked.stdout}${checked.stderr}`);
    for (const words of [["prometheus.yaml"], ["--agent", "agent.yaml"]]) {
      const cwd = join(ROOT, "config/prometheus");
      const configured = spawnSync("promtool", ["check", "config", ...words], { encoding: "utf8", cwd });
      assert.equal(configured.status, 0, `${configured.stdout}${configured.stderr}`);
    }
    const tests = join(ROOT, "config/prometheus/alerts.test.yaml");
    const tried = spawnSync("promtool", ["test", "rules", tests], { encoding: "utf8" });
    assert.equal(tried.status, 0, `${tried.stdout}${tried.stderr}`);
    const covered = readFileSync(tests, "utf8");
    for (const { alert, annotations } of ALERTS) {
      assert.ok(annotations.summary.endsWith(".") && annotations.description.endsWith("."), alert);
      const [page = "", anchor = ""] = annotations.runbook.split("#");
      assert.ok(anchorsOf(pages().get(page) ?? "").has(anchor), `${alert}: ${annotations.runbook}`);
      assert.ok(covered.includes(`alertname: ${alert}\n`), `${alert} is not tried in alerts.test.yaml`);
    }
    assert.equal(new Set(ALERTS.map(({ alert }) => alert)).size, ALERTS.length);
  },
);

test(
  "metrics: Prometheus finds all that alerts, panels and the contract name",
  { skip: missing ?? false },
  async (t) => {
    const { first, second, address, calm } = await openScene(t);
    const prometheus = await startPrometheus(t, { address, hosts: [first, second], rules: [RULES] });

    await t.test("both daemons are scraped, and the rules are taken", async () => {
      await until(async () => (await prometheus.query('up{job="skein"} == 1')).length === 2);
      const { groups } = (await prometheus.get("rules")) as {
        groups: readonly { rules: readonly unknown[] }[];
      };
      assert.equal(groups.flatMap(({ rules }) => rules).length, ALERTS.length);
    });

    await t.test("each promised metric moves when what it counts happens", async () => {
      for (const query of MOVED) await untilFound(prometheus, query, ({ value }) => value > 0);
    });

    await t.test("each alert has what it asks for", async () => {
      for (const { alert, asked } of ALERTS) await untilFound(prometheus, asked, () => true, alert);
    });

    await t.test("each panel has what it draws, or cannot have it here", async () => {
      for (const { title, asked } of DRAWN) {
        const named = namesIn(asked);
        if (named.every((name) => NOT_HERE[name] !== undefined))
          assert.deepEqual(await prometheus.query(asked), []);
        else await untilFound(prometheus, asked, () => true, title);
      }
    });

    await t.test("each metric that is named is exported", async () => {
      const text = String(await first.get("/metrics"));
      for (const name of [...ALERTS, ...DRAWN].flatMap(({ asked }) => namesIn(asked)))
        assert.match(text, new RegExp(`^# TYPE ${name.replace(/_bucket$/, "")} `, "m"));
    });

    await t.test("the alert for an application that fails is about to fire, with its service", async () => {
      await until(async () => (await alertsOf(prometheus)).includes("SkeinServerErrors default/bad"));
      const alerts = (await alertsOf(prometheus)).join();
      assert.doesNotMatch(alerts, /SkeinDaemonDown|SkeinHostDead|default\/web/);
    });

    await t.test("no label is of a client, a path or a peer", async () => {
      await calm();
      const lines = String(await first.get("/metrics")).split("\n");
      const labels = lines.flatMap((line) =>
        Array.from(line.matchAll(/[{,]([a-z_]+)="/g), ([, name = ""]) => name),
      );
      assert.deepEqual(
        [...new Set(labels)].filter((label) => !LABELS.has(label)),
        [],
      );
      assert.doesNotMatch(lines.join("\n"), /secret/);
    });
  },
);

/** Alerts that fire or are about to, with the service that they are about. */
async function alertsOf(prometheus: Prometheus): Promise<readonly string[]> {
  const { alerts } = (await prometheus.get("alerts")) as {
    alerts: readonly { labels: { alertname: string; service?: string } }[];
  };
  return alerts.map(({ labels: { alertname, service = "" } }) => `${alertname} ${service}`);
}

function namesIn(query: string): readonly string[] {
  return Array.from(query.matchAll(/\b(?:skein|process)_[a-z_]+/g), ([name]) => name);
}

async function untilFound(
  prometheus: Prometheus,
  query: string,
  isRight: (series: { readonly value: number }) => boolean,
  what = query,
): Promise<void> {
  await until(async () => (await prometheus.query(query)).some((series) => isRight(series)), {
    what: `${what}: ${query}`,
    everyMs: 100,
  });
}
