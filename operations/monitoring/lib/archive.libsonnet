// The archive: how far behind it is, and whether somebody writes it. Shown on the dashboard of the pipeline.
function(config, prom, grafana) {
  local uid = 'seamless-pipeline',
  local by = ['world_id', 'dataset'],
  local lag = prom.sel('seamless_archive_lag_records'),

  dashboard: null,
  rules: [],
  alerts: [
    prom.alert(
      'seamless-archive-lag-growing',
      '%(now)s > %(least)d and %(now)s > %(before)s' % {
        now: prom.sum(by, lag),
        least: config.thresholds.archive_lag_records,
        before: prom.sum(by, lag + ' offset 10m'),
      },
      'warning',
      uid,
      'The archive of {{ $labels.dataset }} falls behind',
      '{{ $value | humanize }} records are in Kafka alone; retention deletes them at some time.',
      '10m'
    ),
    prom.alert(
      'seamless-archive-commits-refused',
      '%s > %d' % [
        prom.grown(by, prom.sel('seamless_archive_refused_commits_total'), '10m'),
        config.thresholds.refused_commits,
      ],
      'warning',
      uid,
      "Archivers of {{ $labels.dataset }} are in one another's way",
      '{{ $value | humanize }} commits came second in ten minutes; nothing is lost or doubled, but work is done in vain.',
      '0m'
    ),
    prom.alert(
      'seamless-archive-archiver-down',
      prom.gone(lag),
      'critical',
      uid,
      'No archiver runs in {{ $labels.world_id }}',
      'New rows are in Kafka alone, and are gone when retention deletes them.'
    ),
  ],
}
