// Conformance: which rows were flagged, quarantined or dropped, and what schemas did to them.
function(config, prom, grafana) {
  local uid = 'seamless-conformance-quality',
  local thresholds = config.thresholds,
  local q = grafana.query,
  local shown = prom.shown,
  local flagged = ['dataset', 'interval'],
  local ratio(what, window) = 'seamless_%s_rows:ratio_rate%s' % [what, window],
  local by = ['world_id', 'dataset'],
  local raw = 'topic=~".+[.]raw[.].+"',

  dashboard: grafana.dashboard(
    uid,
    'Conformance Quality',
    'How good the rows are: findings, quarantine, schemas, and the exceptions from them.',
    [
      grafana.row('Now', [
        grafana.number(
          'Quarantined',
          'percentunit',
          'Share of the rows of the last ten minutes that are in quarantine, of the worst dataset.',
          [q('max(%s)' % shown(ratio('quarantined', '10m')), 'quarantined')],
          [['green', null], ['red', thresholds.quarantine_ratio]]
        ),
        grafana.number(
          'Flagged',
          'percentunit',
          'Flags per row in the last ten minutes, of the worst dataset; a row may have several.',
          [q('max(%s)' % shown(ratio('flagged', '10m')), 'flagged')]
        ),
        grafana.number(
          'Stopped datasets',
          'none',
          'Datasets that were stopped, as going on would do harm.',
          [q('sum(%s)' % shown('seamless_dataset_stopped'), 'stopped')],
          [['green', null], ['red', 1]]
        ),
        grafana.number(
          'Exceptions that end soon',
          'none',
          'Exceptions from contracts and schemas that end within seven days.',
          [q('sum(%s)' % prom.max(['dataset'], shown('seamless_schema_exceptions_expiring')), 'ending')],
          [['green', null], ['yellow', 1]]
        ),
      ]),
      grafana.row('Rollbacks', [
        grafana.lines(
          'Rollbacks in force',
          'none',
          'What operators have taken back: shadow, sla or storage-first, of a dataset or of all (*); 1 while it lasts.',
          [q(prom.max(['what', 'dataset'], shown('seamless_rollback_active', [])), '{{what}} {{dataset}}')]
        ),
      ]),
      grafana.row('Rows', [
        grafana.lines(
          'Flags',
          'cps',
          'Flagged rows per second, by flag; a row with two flags counts under both.',
          [q(
            prom.rate(['flag', 'dataset'], shown('seamless_conformance_flag_total', flagged)),
            '{{dataset}} {{flag}}'
          )]
        ),
        grafana.lines(
          'Warnings',
          'cps',
          'Rows per second that passed with a warning, by flag.',
          [q(
            prom.rate(['flag', 'dataset'], shown('seamless_conformance_warning_total', flagged)),
            '{{dataset}} {{flag}}'
          )]
        ),
        grafana.lines(
          'Quarantined',
          'cps',
          'Rows per second that were committed to quarantine.',
          [q(prom.rate(['dataset'], shown('seamless_rows_quarantined_total')), '{{dataset}}')]
        ),
        grafana.lines(
          'Duplicates that were dropped',
          'cps',
          'Rows per second that were dropped as they were there already, with equal content.',
          [q(prom.rate(['dataset'], shown('seamless_rows_dropped_total')), '{{dataset}}')]
        ),
      ]),
      grafana.row('Schemas', [
        grafana.lines(
          'Schema violations',
          'cps',
          'Rows per second whose schema strict refuses, by the mode that was in force.',
          [q(
            'sum by (subject, mode, reason) (rate(%s[$__rate_interval]))' %
            shown('seamless_schema_validation_failures_total', [], ['subject=~".*"']),
            '{{subject}} {{mode}} {{reason}}'
          )]
        ),
        grafana.lines(
          'Exceptions in force',
          'none',
          'Exceptions by which violations of a dataset pass as warnings.',
          [q(prom.max(['dataset'], shown('seamless_schema_exceptions_active')), '{{dataset}}')]
        ),
        grafana.lines(
          'Unknown schema ids',
          'none',
          'Schema ids that records carry and the registry does not know; their rows wait.',
          [q(prom.max(['dataset'], shown('seamless_registry_wait')), '{{dataset}}')]
        ),
        grafana.lines(
          'Records that the fast codec could not decode',
          'cps',
          'Records per second that the reference codec was asked about.',
          [q(prom.rate(['dataset'], shown('seamless_schema_decode_fallback_total')), '{{dataset}}')]
        ),
      ]),
    ]
  ),

  local rows = prom.sel('seamless_rows_in_total'),
  rules: [
    prom.record(
      ratio('quarantined', window),
      prom.share(by, prom.sel('seamless_rows_quarantined_total'), rows, window)
    )
    for window in ['10m', '1d']
  ] + [
    // Workers flag rows of history, too, which are no rows of the feed.
    prom.record(
      ratio('flagged', window),
      prom.share(by, prom.sel('seamless_conformance_flag_total'), rows, window, ['job', 'instance'] + by)
    )
    for window in ['10m', '1d']
  ],

  local behind = prom.sum(['world_id', 'topic'], prom.sel('seamless_lag_records', [raw])),
  alerts: [
    prom.alert(
      'seamless-conformance-flag-spike',
      '%(now)s > %(least)g and %(now)s > %(times)g * %(day)s' % {
        now: prom.sel(ratio('flagged', '10m')),
        day: prom.sel(ratio('flagged', '1d')),
        least: thresholds.flag_ratio,
        times: thresholds.flag_spike,
      },
      'warning',
      uid,
      'Far more rows of {{ $labels.dataset }} are flagged than usual',
      '{{ $value | humanizePercentage }} of the rows of ten minutes, more than %g times the day.' %
      thresholds.flag_spike
    ),
    prom.alert(
      'seamless-conformance-quarantine-growing',
      '%s > %g' % [prom.sel(ratio('quarantined', '10m')), thresholds.quarantine_ratio],
      'warning',
      uid,
      'The quarantine of {{ $labels.dataset }} grows',
      '{{ $value | humanizePercentage }} of the rows of ten minutes are in quarantine.'
    ),
    prom.alert(
      'seamless-conformance-dataset-stopped',
      '%s > 0' % prom.max(by, prom.sel('seamless_dataset_stopped')),
      'critical',
      uid,
      '{{ $labels.dataset }} is stopped',
      'A process stopped it, as going on would do harm; its log and /healthz say why. No row is lost.',
      '1m'
    ),
    prom.alert(
      'seamless-conformance-lag-growing',
      '%(now)s > %(least)d and %(now)s > %(before)s' % {
        now: behind,
        least: thresholds.lag_records,
        before: prom.sum(['world_id', 'topic'], prom.sel('seamless_lag_records', [raw]) + ' offset 10m'),
      },
      'warning',
      'seamless-pipeline',
      'The normalizers fall behind on {{ $labels.topic }}',
      '{{ $value | humanize }} records wait, more than ten minutes ago.',
      '10m'
    ),
    prom.alert(
      'seamless-conformance-commit-slow',
      '%s > %g' % [
        prom.quantile(0.99, ['world_id'], prom.sel('seamless_commit_seconds_bucket'), '5m'),
        config.objectives.commit_p99_seconds,
      ],
      'warning',
      'seamless-pipeline',
      'Commits of {{ $labels.world_id }} are slow',
      'Of 100 batches the slowest takes {{ $value | humanizeDuration }} from its end to its commit.',
      '10m'
    ),
    prom.alert(
      'seamless-conformance-normalizer-down',
      prom.gone(prom.sel('seamless_lag_records', [raw])),
      'critical',
      'seamless-pipeline',
      'No normalizer runs in {{ $labels.world_id }}',
      'Raw rows wait in Kafka; none is lost, and none gets to readers.'
    ),
  ],
}
