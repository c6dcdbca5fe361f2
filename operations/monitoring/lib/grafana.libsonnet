// Grafana's model of a dashboard (schema 39), as far as it is used: variables, rows and panels that lay themselves out.
function(config, prom) {
  local grafana = self,
  local source = { type: 'prometheus', uid: '${datasource}' },

  query(expr, legend, instant=false):: {
    datasource: source,
    expr: expr,
    legendFormat: legend,
    range: !instant,
    instant: instant,
  },

  local panel(type, title, unit, description, queries, width, options, custom) = {
    type: type,
    title: title,
    description: description,
    datasource: source,
    gridPos: { w: width },
    targets: [queries[i] { refId: std.char(65 + i) } for i in std.range(0, std.length(queries) - 1)],
    fieldConfig: { defaults: { unit: unit, custom: custom }, overrides: [] },
    options: options,
  },

  // Lines over time.
  lines(title, unit, description, queries, width=12)::
    panel(
      'timeseries',
      title,
      unit,
      description,
      queries,
      width,
      {
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
      { fillOpacity: 10, lineWidth: 1, showPoints: 'never', spanNulls: false }
    ),

  // One number, the newest; `steps` are [colour, from] pairs.
  number(title, unit, description, queries, steps=[['green', null]], width=6)::
    panel(
      'stat',
      title,
      unit,
      description,
      queries,
      width,
      {
        colorMode: 'value',
        graphMode: 'area',
        reduceOptions: { calcs: ['lastNotNull'] },
        textMode: 'auto',
      },
      {}
    ) + {
      fieldConfig+: {
        defaults+: {
          thresholds: {
            mode: 'absolute',
            steps: [{ color: step[0], value: step[1] } for step in steps],
          },
        },
      },
    },

  row(title, panels):: { title: title, panels: panels },

  local variable(name, label, query, all) = {
    name: name,
    label: label,
    type: 'query',
    datasource: source,
    query: { query: query, refId: name },
    refresh: 2,
    sort: 1,
    multi: all,
    includeAll: all,
    allValue: if all then '.*' else null,
  },

  local every = '__name__=~"(seamless|backfill)_.+"',
  local of_world = every + ',world_id=~"$world"',
  variables:: [
    {
      name: 'datasource',
      label: 'Data source',
      type: 'datasource',
      query: 'prometheus',
      current: { text: config.datasource, value: config.datasource },
    },
    variable('world', 'World', 'label_values(seamless_build_info, world_id)', false),
    variable('dataset', 'Dataset', 'label_values({%s}, dataset)' % of_world, true),
    variable('interval', 'Interval', 'label_values({%s}, interval)' % of_world, true),
    variable('consumer', 'Consumer', 'label_values({%s}, consumer)' % of_world, true),
  ],

  // Rows below one another; all panels of a row are as wide as its first, from left to right in 24 columns.
  local height = 8,
  local in_a_line(row) = std.floor(24 / row.panels[0].gridPos.w),
  local lines_of(row) = std.ceil(std.length(row.panels) / in_a_line(row)),
  local heading(row, top) = {
    type: 'row',
    title: row.title,
    collapsed: false,
    panels: [],
    gridPos: { x: 0, y: top, w: 24, h: 1 },
  },
  local laid_out(rows) = std.flattenArrays([
    local row = rows[i];
    local top = std.foldl(function(sum, above) sum + 1 + height * lines_of(above), rows[:i], 0);
    local across = in_a_line(row);
    [heading(row, top)] + [
      row.panels[j] {
        gridPos+: { x: (j % across) * super.w, y: top + 1 + height * std.floor(j / across), h: height },
      }
      for j in std.range(0, std.length(row.panels) - 1)
    ]
    for i in std.range(0, std.length(rows) - 1)
  ]),

  // What was done to the system, drawn over every panel: rollbacks while they are in force, and each version of the
  // program when it first runs.
  local drawn(name, color, expr, title, text) = {
    name: name,
    datasource: source,
    enable: true,
    iconColor: color,
    expr: expr,
    step: '30s',
    titleFormat: title,
    textFormat: text,
  },
  local versions = 'max by (version) (%s)' % prom.shown('seamless_build_info', []),
  local annotations = [
    drawn(
      'Rollbacks',
      'orange',
      '%s > 0' % prom.max(['what', 'dataset'], prom.shown('seamless_rollback_active', [])),
      'Rollback: {{what}}',
      '{{dataset}}'
    ),
    drawn(
      'Versions',
      'blue',
      '%s unless %s' % [versions, std.strReplace(versions, '})', '} offset 5m)')],
      'Version {{version}}',
      'runs for the first time'
    ),
  ],

  dashboard(uid, title, description, rows)::
    local panels = laid_out(rows);
    {
      uid: uid,
      title: title,
      description: description,
      tags: ['seamless'],
      schemaVersion: 39,
      timezone: 'utc',
      refresh: '30s',
      time: { from: 'now-6h', to: 'now' },
      graphTooltip: 1,
      templating: { list: grafana.variables },
      annotations: { list: annotations },
      links: [{
        title: 'Seamless',
        type: 'dashboards',
        tags: ['seamless'],
        asDropdown: true,
        includeVars: true,
        keepTime: true,
      }],
      panels: [panels[i] { id: i + 1 } for i in std.range(0, std.length(panels) - 1)],
    },
}
