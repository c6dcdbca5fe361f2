// Schemas: what producers may write, and the exceptions from that. Shown on the dashboard of conformance.
function(config, prom, grafana) {
  local uid = 'seamless-conformance-quality',
  local by = ['world_id', 'dataset'],
  local active = prom.max(by, prom.sel('seamless_schema_exceptions_active')),

  dashboard: null,
  rules: [],
  alerts: [
    prom.alert(
      'seamless-schema-violations',
      '%s > 0' % prom.grown(
        ['world_id', 'subject', 'reason'],
        prom.sel('seamless_schema_validation_failures_total', ['mode!="optional"']),
        '10m'
      ),
      'warning',
      uid,
      'A producer writes {{ $labels.subject }} with a schema that is refused',
      '{{ $value | humanize }} rows in ten minutes: {{ $labels.reason }}.',
      '0m'
    ),
    prom.alert(
      'seamless-schema-exception-expiring',
      '%s > 0' % prom.max(by, prom.sel('seamless_schema_exceptions_expiring')),
      'warning',
      uid,
      'An exception of {{ $labels.dataset }} ends within seven days',
      '{{ $value }} exceptions end; the rows that need them are quarantined after that.',
      '0m'
    ),
    prom.alert(
      'seamless-schema-exception-expired',
      '%(active)s < %(before)s and on (world_id, dataset) %(ratio)s > 0' % {
        active: active,
        before: prom.max(
          by,
          'max_over_time(%s[%s])' % [prom.sel('seamless_schema_exceptions_active'), config.remember]
        ),
        ratio: prom.sel('seamless_quarantined_rows:ratio_rate10m'),
      },
      'critical',
      uid,
      'An exception of {{ $labels.dataset }} has ended, and rows are quarantined',
      '{{ $value }} exceptions are left, fewer than within the last %s.' % config.remember
    ),
    prom.alert(
      'seamless-schema-registry-wait',
      '%s > 0' % prom.max(by, prom.sel('seamless_registry_wait')),
      'critical',
      uid,
      'Rows of {{ $labels.dataset }} wait for the registry',
      '{{ $value }} schema ids are unknown to it; the rows of their partitions wait, and none is lost.',
      '2m'
    ),
  ],
}
