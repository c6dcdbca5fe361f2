// The parts put together, in the form that Prometheus mixins have: import it to use it with others.
function(config) {
  local prom = (import 'lib/prom.libsonnet')(config),
  local grafana = (import 'lib/grafana.libsonnet')(config, prom),
  local parts = {
    sla: (import 'lib/sla.libsonnet')(config, prom, grafana),
    backfill: (import 'lib/backfill.libsonnet')(config, prom, grafana),
    conformance: (import 'lib/conformance.libsonnet')(config, prom, grafana),
    schema: (import 'lib/schema.libsonnet')(config, prom, grafana),
    archive: (import 'lib/archive.libsonnet')(config, prom, grafana),
    pipeline: (import 'lib/pipeline.libsonnet')(config, prom, grafana),
  },
  local named = std.objectFields(parts),
  local groups(what) = [
    { name: 'seamless-' + name, rules: parts[name][what] }
    for name in named
    if parts[name][what] != []
  ],

  grafanaDashboards:: {
    [parts[name].dashboard.uid + '.json']: parts[name].dashboard
    for name in named
    if parts[name].dashboard != null
  },
  prometheusRules:: { groups: groups('rules') },
  prometheusAlerts:: { groups: groups('alerts') },
}
