// Promises to readers: what providers measure, and what the SLA agent and the alert bridge make of it.
function(config, prom, grafana) {
  local uid = 'seamless-sla-overview',
  local objectives = config.objectives,
  local use = ['world_id', 'consumer', 'dataset'],
  local seconds = 'seamless_sla_deadline_seconds',
  local total = ['phase="total"'],
  local ratio(window) = 'seamless_sla_bad_fetches:ratio_rate' + window,
  local longest = objectives.burn[0].long,
  local windows = std.set(std.flattenArrays([[pair.long, pair.short] for pair in objectives.burn])),
  local q = grafana.query,
  local shown = prom.shown,
  local reader = ['dataset', 'consumer'],

  dashboard: grafana.dashboard(
    uid,
    'Seamless SLA Overview',
    'What readers were promised, what they got, and how much of the error budgets is left.',
    [
      grafana.row('Now', [
        grafana.number(
          'Open breaches',
          'none',
          'Promises that are broken at this moment, by the SLA agent.',
          [q('sum(%s)' % shown('seamless_sla_open_breaches'), 'open')],
          [['green', null], ['red', 1]]
        ),
        grafana.number(
          'Error budget left, least',
          'percentunit',
          'The least that is left of any error budget in its period; below nothing it is overdrawn.',
          [q('min(%s)' % shown('seamless_sla_error_budget_remaining_ratio', reader), 'left')],
          [['red', null], ['yellow', 0.1], ['green', 0.5]]
        ),
        grafana.number(
          'Coverage, least',
          'percentunit',
          'The least share of what the latest fetches asked for that was there.',
          [q('min(%s)' % shown('seamless_coverage_ratio', reader), 'there')],
          [['red', null], ['yellow', 0.9], ['green', objectives.coverage_ratio]]
        ),
        grafana.number(
          'Staleness, worst',
          's',
          'The greatest age of a newest live row when it was last looked at, by the calendars of the datasets.',
          [q('max(%s)' % shown('seamless_live_staleness_seconds', reader), 'old')],
          [['green', null], ['red', objectives.staleness_seconds]]
        ),
      ]),
      grafana.row('Time', [
        grafana.lines(
          'Fetches, 99th percentile',
          's',
          'Seconds within which 99 of 100 fetches of the latest five minutes ended.',
          [q(shown('seamless_sla_total_p99_seconds', ['dataset', 'interval', 'consumer']), '{{dataset}} {{consumer}}')]
        ),
        grafana.lines(
          'Phases, 99th percentile',
          's',
          'Where the time of fetches goes: the archive, backfill, live rows, and the whole.',
          [q(
            prom.quantile(0.99, ['phase'], shown(seconds + '_bucket', ['dataset', 'interval', 'consumer'])),
            '{{phase}}'
          )]
        ),
        grafana.lines(
          'Waits, 99th percentile',
          's',
          'Seconds of waiting for the archive, for what was missing, and for live rows.',
          [
            q(prom.quantile(0.99, ['dataset'], shown('seamless_%s_wait_seconds_bucket' % what, reader)), what + ' {{dataset}}')
            for what in ['storage', 'backfill', 'live']
          ]
        ),
        grafana.lines(
          'Fetches',
          'reqps',
          'Fetches that ended, per second.',
          [q(
            prom.rate(['consumer', 'dataset'], shown(seconds + '_count', ['dataset', 'interval', 'consumer'], total)),
            '{{dataset}} {{consumer}}'
          )]
        ),
      ]),
      grafana.row('Promises', [
        grafana.lines(
          'Bad fetches, last %s' % longest,
          'percentunit',
          'Share of fetches that did not keep their policy: raised, partial, or late.',
          [q(shown(ratio(longest), reader), '{{dataset}} {{consumer}}')]
        ),
        grafana.lines(
          'Violations',
          'cps',
          'Phases and checks over their limit, per second, by what happened then.',
          [q(prom.rate(['phase', 'outcome'], shown('seamless_sla_violations_total', reader)), '{{phase}} {{outcome}}')]
        ),
        grafana.lines(
          'Error budget left',
          'percentunit',
          'Share that is left of each error budget in its period; negative if it is overdrawn.',
          [q(
            prom.max(
              ['objective', 'dataset', 'consumer'],
              shown('seamless_sla_error_budget_remaining_ratio', reader)
            ), '{{objective}} {{dataset}} {{consumer}}'
          )]
        ),
        grafana.lines(
          'Open breaches',
          'none',
          'Promises that are broken, by objective and severity.',
          [q(
            prom.sum(['objective', 'severity', 'dataset'], shown('seamless_sla_open_breaches')),
            '{{objective}} {{dataset}} {{severity}}'
          )]
        ),
      ]),
      grafana.row('Who watches', [
        grafana.lines(
          'Observations in windows',
          'cps',
          'Observations that the SLA agents folded, per second.',
          [q('sum(rate(%s[$__rate_interval]))' % shown('seamless_sla_observations_total', []), 'folded')],
          8
        ),
        grafana.lines(
          'Observations still to read',
          'none',
          'Records of observations that the agents have still to read.',
          [q(prom.sum(['partition'], shown('seamless_sla_agent_lag_records', [])), 'partition {{partition}}')],
          8
        ),
        grafana.lines(
          'Since Alertmanager took a post',
          's',
          'Seconds since each Alertmanager last took a post of the alert bridge; there is one each minute.',
          [q(prom.max(['alertmanager'], shown('seamless_alert_post_age_seconds', [])), '{{alertmanager}}')],
          8
        ),
      ]),
    ]
  ),

  rules: [
    prom.record(
      'seamless_sla_total_p%g_seconds' % [100 * q],
      prom.quantile(q, use + ['interval'], prom.sel(seconds + '_bucket', total), '5m')
    )
    for q in [0.5, 0.99]
  ] + [
    prom.record(
      ratio(window),
      prom.share(use, prom.sel('seamless_sla_violations_total', total), prom.sel(seconds + '_count', total), window)
    )
    for window in windows
  ],

  local burning(severity) = [pair for pair in objectives.burn if pair.severity == severity],
  local burn(severity, name, summary, pending) =
    local pairs = burning(severity);
    prom.alert(
      name,
      std.join(' or ', [
        '(%(long)s > %(limit)g and %(short)s > %(limit)g)' % {
          long: prom.sel(ratio(pair.long)),
          short: prom.sel(ratio(pair.short)),
          limit: pair.rate * (1 - objectives.target),
        }
        for pair in pairs
      ]),
      severity,
      uid,
      summary,
      '{{ $value | humanizePercentage }} of the fetches of {{ $labels.dataset }} by {{ $labels.consumer }} did not ' +
      'keep their promises; %g %% may not.' % [100 * (1 - objectives.target)],
      pending
    ),

  alerts: [
    prom.alert(
      'seamless-sla-deadline-p99',
      prom.above('seamless_sla_total_p99_seconds', objectives.total_p99_seconds, objectives.total_p99_seconds_of),
      'warning',
      uid,
      'Fetches of {{ $labels.dataset }} take too long',
      'Of 100 fetches by {{ $labels.consumer }} the slowest takes {{ $value | humanizeDuration }}.'
    ),
    burn(
      'critical',
      'seamless-sla-budget-burn-fast',
      'The error budget of {{ $labels.dataset }} is going within days',
      '2m'
    ),
    burn('warning', 'seamless-sla-budget-burn-slow', 'The error budget of {{ $labels.dataset }} will not last', '15m'),
    prom.alert(
      'seamless-sla-staleness',
      prom.above('seamless_live_staleness_seconds', objectives.staleness_seconds, objectives.staleness_seconds_of),
      'critical',
      uid,
      'Live rows of {{ $labels.dataset }} are old',
      'The newest row that {{ $labels.consumer }} saw was {{ $value | humanizeDuration }} late by the calendar.'
    ),
    prom.alert(
      'seamless-sla-coverage-low',
      '%s < %g' % [prom.sel('seamless_coverage_ratio'), objectives.coverage_ratio],
      'warning',
      uid,
      'Rows of {{ $labels.dataset }} are missing',
      'The latest fetch by {{ $labels.consumer }} got {{ $value | humanizePercentage }} of what it asked for.',
      '15m'
    ),
    prom.alert(
      'seamless-sla-provider-degraded',
      '%s > 0' % prom.grown(['world_id', 'dataset', 'what'], prom.sel('seamless_provider_degraded_total'), '10m'),
      'warning',
      uid,
      'Readers of {{ $labels.dataset }} do without a part: {{ $labels.what }}',
      '{{ $value | humanize }} fetches in ten minutes went on without it, with what there was.'
    ),
    prom.alert(
      'seamless-sla-observations-lost',
      '%s > 0' % prom.grown(['world_id', 'reason'], prom.sel('seamless_sla_observations_dropped_total'), '15m'),
      'warning',
      uid,
      'Observations do not get to Kafka: {{ $labels.reason }}',
      '{{ $value | humanize }} observations of the last quarter of an hour are in no window, so breaches may go unseen.',
      '0m'
    ),
    prom.alert(
      'seamless-sla-agent-lagging',
      '%s > %d' % [prom.sum(['world_id'], prom.sel('seamless_sla_agent_lag_records')), config.thresholds.agent_lag_records],
      'warning',
      uid,
      'The SLA agents of {{ $labels.world_id }} are behind',
      '{{ $value | humanize }} observations are still to be read; breaches are told late.',
      '10m'
    ),
    prom.alert(
      'seamless-sla-agent-down',
      prom.gone(prom.sel('seamless_sla_open_windows')),
      'critical',
      uid,
      'No SLA agent runs in {{ $labels.world_id }}',
      'Nobody folds observations, so no breach is found or told.'
    ),
    prom.alert(
      'seamless-sla-alerts-undelivered',
      '%s > %d or %s' % [
        prom.sel('seamless_alert_post_age_seconds'),
        config.thresholds.alert_post_age_seconds,
        prom.gone(prom.sel('seamless_alert_post_age_seconds')),
      ],
      'critical',
      uid,
      'Breaches of {{ $labels.world_id }} do not get to Alertmanager',
      'The alert bridge is gone, or {{ $labels.alertmanager }} takes none of its posts: nobody would be told.',
      '2m'
    ),
  ],
}
