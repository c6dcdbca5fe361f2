// Backfill: jobs, shards, the leases of workers, and the coordinator that tells of them.
function(config, prom, grafana) {
  local uid = 'seamless-backfill-health',
  local thresholds = config.thresholds,
  local q = grafana.query,
  local shown = prom.shown,
  local queue = 'topic=~".+[.]backfill[.]shards.*"',

  dashboard: grafana.dashboard(
    uid,
    'Backfill Coordinator Health',
    'How far backfill is, who works on it, and what went wrong.',
    [
      grafana.row('Now', [
        grafana.number(
          'Jobs in progress',
          'none',
          'Backfill jobs that are neither done nor given up.',
          [q('max(%s)' % shown('backfill_jobs_in_progress', []), 'jobs')]
        ),
        grafana.number(
          'Stuck leases',
          'none',
          'Shards that run without progress for too long.',
          [q('max(%s)' % shown('backfill_stalled_leases', []), 'leases')],
          [['green', null], ['red', 1]]
        ),
        grafana.number(
          'Done, least',
          'percentunit',
          'The least share of the planned rows of running jobs that is done, of any dataset.',
          [q('min(%s)' % shown('backfill_completion_ratio', ['node', 'interval']), 'done')]
        ),
        grafana.number(
          'Shards that wait',
          'none',
          'Records in the queues of shards that no worker has finished.',
          [q('sum(%s)' % shown('seamless_lag_records', [], [queue]), 'shards')]
        ),
      ]),
      grafana.row('Progress', [
        grafana.lines(
          'Done',
          'percentunit',
          'Share of the planned rows of running jobs that is done; 1 where none runs.',
          [q(
            prom.max(['node_id', 'interval'], shown('backfill_completion_ratio', ['node', 'interval'])),
            '{{node_id}} {{interval}}'
          )]
        ),
        grafana.lines(
          'Rows',
          'cps',
          'Rows per second that were committed to the history topics.',
          [q(prom.rate(['dataset'], shown('backfill_rows_total')), '{{dataset}}')]
        ),
        grafana.lines(
          'Newest time that was filled',
          'dateTimeAsIso',
          'Greatest event time that backfill has written.',
          [q(
            '1000 * ' + prom.max(['node_id'], shown('backfill_last_timestamp', ['node', 'interval'])),
            '{{node_id}}'
          )]
        ),
        grafana.lines(
          'Time of a shard, 90th percentile',
          's',
          'Seconds from the first claim of a shard to its completion.',
          [q(prom.quantile(0.9, ['dataset'], shown('backfill_shard_seconds_bucket')), '{{dataset}}')]
        ),
      ]),
      grafana.row('Trouble', [
        grafana.lines(
          'Leases that moved',
          'cps',
          'Shards per second that were taken over from another holder before they were done.',
          [q('sum(rate(%s[$__rate_interval]))' % shown('backfill_lease_moves_total', []), 'moved')],
          8
        ),
        grafana.lines(
          'Fenced chunks',
          'cps',
          'Chunks per second that were refused because their holder had lost the lease; nothing is doubled.',
          [q('sum(rate(%s[$__rate_interval]))' % shown('backfill_fenced_total', []), 'fenced')],
          8
        ),
        grafana.lines(
          'Retries and failures',
          'cps',
          'Errors of sources per second after which a fetch was retried, and shards that were given up.',
          [
            q(prom.rate(['dataset'], shown('backfill_retry_total')), 'retried {{dataset}}'),
            q(prom.rate(['dataset'], shown('backfill_failure_total')), 'failed {{dataset}}'),
          ],
          8
        ),
      ]),
    ]
  ),

  rules: [],

  local stands = {
    jobs: prom.max(['world_id', 'node_id'], prom.sel('backfill_completion_ratio')),
    rows: 'label_replace(%s, "node_id", "$1", "dataset", "(.*)")' %
          prom.grown(['world_id', 'dataset'], prom.sel('backfill_rows_total'), thresholds.stalled),
  },

  alerts: [
    prom.alert(
      'seamless-backfill-lease-stuck',
      '%s > 0' % prom.max(['world_id'], prom.sel('backfill_stalled_leases')),
      'warning',
      uid,
      'A lease is stuck in {{ $labels.world_id }}',
      '{{ $value }} shards run without progress, and their worker still holds them.'
    ),
    prom.alert(
      'seamless-backfill-completion-stalled',
      '%(jobs)s < 1 unless on (world_id, node_id) (%(rows)s > 0)' % stands,
      'warning',
      uid,
      'Backfill of {{ $labels.node_id }} stands still',
      'A job is {{ $value | humanizePercentage }} done, and no row was written for %s.' % thresholds.stalled,
      thresholds.stalled
    ),
    prom.alert(
      'seamless-backfill-fenced-spike',
      '%s > %d' % [prom.grown(['world_id'], prom.sel('backfill_fenced_total'), '10m'), thresholds.fenced_chunks],
      'warning',
      uid,
      'Workers of {{ $labels.world_id }} keep losing their leases',
      '{{ $value | humanize }} chunks were refused in ten minutes. No row is lost or doubled, but work is done in vain.',
      '0m'
    ),
    prom.alert(
      'seamless-backfill-shards-failed',
      '%s > 0' % prom.grown(['world_id', 'dataset'], prom.sel('backfill_failure_total'), '1h'),
      'warning',
      uid,
      'Shards of {{ $labels.dataset }} failed',
      '{{ $value | humanize }} shards were given up in the last hour; what they were to fetch stays missing.',
      '0m'
    ),
    prom.alert(
      'seamless-backfill-source-errors',
      '%s > %g' % [
        prom.rate(['world_id', 'dataset'], prom.sel('backfill_retry_total'), '10m'),
        thresholds.source_retries,
      ],
      'warning',
      uid,
      'The source of {{ $labels.dataset }} fails again and again',
      'Its fetches are retried {{ $value | humanize }} times a second.',
      '10m'
    ),
    prom.alert(
      'seamless-backfill-workers-down',
      '%s > 0 unless on (world_id) %s' % [
        prom.max(['world_id'], prom.sel('backfill_jobs_in_progress')),
        prom.sum(['world_id'], prom.sel('seamless_lag_records', [queue])),
      ],
      'critical',
      uid,
      'Backfill waits in {{ $labels.world_id }}, and no worker runs',
      '{{ $value }} jobs are in progress, and nobody works on them.'
    ),
    prom.alert(
      'seamless-backfill-coordinator-down',
      prom.gone(prom.sel('backfill_jobs_in_progress')),
      'warning',
      uid,
      'No coordinator answers in {{ $labels.world_id }}',
      'Running shards go on; nothing new can be asked for over HTTP, and providers serve what the archive has.'
    ),
  ],
}
