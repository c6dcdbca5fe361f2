// What an installation may say about its monitoring; `with` of operations/monitoring/render.py is laid over it.
{
  // Matchers that every query carries, such as 'cluster="eu"'; none by default.
  selector: '',
  // The jobs under which Prometheus scrapes processes of Seamless.
  jobs: 'seamless.*',
  // A process counts as gone if it was there within this time and is not any more.
  remember: '1d',
  datasource: 'prometheus',

  links: {
    // Where operations/runbooks is to be read, with the language.
    runbooks: 'https://runbooks.example/seamless/en',
    grafana: 'https://grafana.example',
  },

  objectives: {
    // Seconds within which 99 of 100 fetches are to end; those of the preset `baseline` in streams/sla_policy.py.
    total_p99_seconds: 90,
    // Datasets with another one, as in { 'trade.us': 5 }.
    total_p99_seconds_of: {},
    // The share of fetches that keep their promises, over the period of an error budget.
    target: 0.99,
    // Pairs of windows and multiples of the pace that just uses up a budget (SRE Workbook, chapter 5, table 5-8).
    burn: [
      { long: '1h', short: '5m', rate: 14.4, severity: 'critical' },
      { long: '6h', short: '30m', rate: 6, severity: 'critical' },
      { long: '3d', short: '6h', rate: 1, severity: 'warning' },
    ],
    staleness_seconds: 900,
    staleness_seconds_of: {},
    coverage_ratio: 0.99,
    // Seconds within which 99 of 100 batches are to be committed.
    commit_p99_seconds: 2,
  },

  thresholds: {
    // Records that may wait, of a topic, before growth is a matter.
    lag_records: 10000,
    archive_lag_records: 100000,
    agent_lag_records: 10000,
    // Commits of the archive that came second within ten minutes: a few follow when partitions move.
    refused_commits: 30,
    // Chunks refused within ten minutes because their holder had lost the lease: one or two follow any lost worker.
    fenced_chunks: 5,
    // Shares of rows that are quarantined, or flagged, and how many times the day before is a spike.
    quarantine_ratio: 0.01,
    flag_ratio: 0.01,
    flag_spike: 3,
    // Retried fetches per second of a dataset's source.
    source_retries: 0.2,
    // Seconds without a post that Alertmanager took; it is posted to each minute.
    alert_post_age_seconds: 300,
    // Time without a row after which a backfill stands still.
    stalled: '15m',
  },
}
