// How queries, recording rules and alerts are written; everything that they share.
function(config) {
  local prom = self,
  local joined(matchers) = std.join(',', [each for each in [config.selector] + matchers if each != '']),

  // A metric of this installation, as in sel('seamless_rows_in_total', ['dataset="bars"']).
  sel(metric, matchers=[])::
    local all = joined(matchers);
    if all == '' then metric else '%s{%s}' % [metric, all],

  // A metric of what a dashboard's variables say; `labels` are those of world, dataset, node, interval and consumer
  // that the metric has. Of backfill, node_id is the dataset.
  shown(metric, labels=['dataset'], matchers=[])::
    local matcher = {
      dataset: 'dataset=~"$dataset"',
      node: 'node_id=~"$dataset"',
      interval: 'interval=~"$interval"',
      consumer: 'consumer=~"$consumer"',
    };
    prom.sel(metric, ['world_id=~"$world"'] + [matcher[label] for label in labels] + matchers),

  sum(by, expr):: 'sum by (%s) (%s)' % [std.join(', ', by), expr],
  max(by, expr):: 'max by (%s) (%s)' % [std.join(', ', by), expr],
  rate(by, selected, window='$__rate_interval'):: prom.sum(by, 'rate(%s[%s])' % [selected, window]),
  quantile(q, by, selected, window='$__rate_interval')::
    'histogram_quantile(%g, %s)' % [q, prom.rate(['le'] + by, selected, window)],

  // How much counters grew. A series that is not older than the window counts whole: `increase` would take the first
  // value of a counter that begins with its first event for where it has always been.
  grown(by, selected, window)::
    prom.sum(by, '(%(s)s unless last_over_time(%(s)s[1h] offset %(w)s)) or increase(%(s)s[%(w)s])' % {
      s: selected,
      w: window,
    }),

  // A share, which is 0 rather than nothing while the part has no series. With `beside`, the part counts only where
  // there is a whole with the same of these labels, as where other processes tell of the part alone.
  share(by, part, whole, window, beside=[])::
    local all = prom.rate(by, whole, window);
    local some =
      if beside == [] then prom.rate(by, part, window)
      else prom.sum(by, 'rate(%s[%s]) and on (%s) %s' % [part, window, std.join(', ', beside), whole]);
    '(%s or 0 * %s) / (%s > 0)' % [some, all, all],

  // Series above a limit, where some datasets have one of their own.
  above(metric, limit, limit_of, matchers=[])::
    local own = std.objectFields(limit_of);
    local rest = if own == [] then [] else ['dataset!~"%s"' % std.join('|', [
      std.strReplace(name, '.', '\\\\.')
      for name in own
    ])];
    std.join(' or ', ['%s > %g' % [prom.sel(metric, rest + matchers), limit]] + [
      '%s > %g' % [prom.sel(metric, ['dataset="%s"' % name] + matchers), limit_of[name]]
      for name in own
    ]),

  // Worlds in which a process was there and is not any more, told by a gauge that it alone sets.
  gone(selected)::
    'count by (world_id) (last_over_time(%(s)s[%(r)s])) unless count by (world_id) (%(s)s)' % {
      s: selected,
      r: config.remember,
    },

  record(name, expr):: { record: name, expr: expr },

  // An alert; `dashboard` is the uid of where to look, and 'for' the time after which it is told.
  alert(name, expr, severity, dashboard, summary, description, pending='5m')::
    {
      alert: name,
      expr: expr,
      'for': pending,
      labels: { severity: severity, product: 'seamless' },
      annotations: {
        summary: summary,
        description: description,
        runbook_url: '%s/%s.md' % [config.links.runbooks, name],
        dashboard_url: '%s/d/%s?var-world={{ $labels.world_id }}' % [config.links.grafana, dashboard],
      },
    },
}
