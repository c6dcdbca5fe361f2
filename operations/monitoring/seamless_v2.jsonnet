// All files of the monitoring bundle, by their paths: `jsonnet -S -m DIR --create-output-dirs seamless_v2.jsonnet`,
// or `seamless monitoring export DIR`. `with` is laid over config.libsonnet; a key that is not there is refused.
local defaults = import 'config.libsonnet';
local mixin = import 'mixin.libsonnet';

// Tables whose keys are names of datasets, which nobody can know here.
local free = ['objectives.total_p99_seconds_of', 'objectives.staleness_seconds_of'];

local laid_over(base, over, where='') =
  local full(key) = if where == '' then key else where + '.' + key;
  local unknown = [key for key in std.objectFields(over) if !std.objectHas(base, key)];
  local wrong = [key for key in std.objectFields(over) if std.type(base[key]) != std.type(over[key])];
  if std.member(free, where) then over
  else if unknown != [] then
    error '%s is no key of the monitoring: use one of %s' % [full(unknown[0]), std.join(', ', std.objectFields(base))]
  else if wrong != [] then
    error '%s is of type %s, and must be of type %s' % [
      full(wrong[0]),
      std.type(over[wrong[0]]),
      std.type(base[wrong[0]]),
    ]
  else base {
    [key]: if std.isObject(base[key]) then laid_over(base[key], over[key], full(key)) else over[key]
    for key in std.objectFields(over)
  };

function(with={})
  local made = mixin(laid_over(defaults, with));
  {
    ['dashboards/' + name]: std.manifestJsonEx(made.grafanaDashboards[name], '  ') + '\n'
    for name in std.objectFields(made.grafanaDashboards)
  } + {
    'rules/seamless-recording.yml': std.manifestYamlDoc(made.prometheusRules, quote_keys=false) + '\n',
    'rules/seamless-alerts.yml': std.manifestYamlDoc(made.prometheusAlerts, quote_keys=false) + '\n',
  }
