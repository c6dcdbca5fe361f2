// From raw rows to readers: how much flows, how far behind everybody is, and whether processes run.
function(config, prom, grafana) {
  local uid = 'seamless-pipeline',
  local q = grafana.query,
  local shown = prom.shown,
  local reader = ['dataset', 'consumer'],

  dashboard: grafana.dashboard(
    uid,
    'Pipeline Throughput and Lag',
    'Rows from raw topics to the archive and to readers: how many, how late, and who carries them.',
    [
      grafana.row('Throughput', [
        grafana.lines(
          'Rows in',
          'cps',
          'Raw rows per second whose transaction was committed.',
          [q(prom.rate(['dataset'], shown('seamless_rows_in_total')), '{{dataset}}')],
          8
        ),
        grafana.lines(
          'Rows out',
          'cps',
          'Rows per second that were committed to the normalized topics.',
          [q(prom.rate(['dataset'], shown('seamless_rows_out_total')), '{{dataset}}')],
          8
        ),
        grafana.lines(
          'Rows archived',
          'cps',
          'Rows per second that were committed to the archive.',
          [q(prom.rate(['dataset'], shown('seamless_archive_rows_total')), '{{dataset}}')],
          8
        ),
      ]),
      grafana.row('Lag', [
        grafana.lines(
          'Normalizers',
          'none',
          'Records between the committed offset and the last stable offset, by topic.',
          [q(prom.sum(['topic'], shown('seamless_lag_records', [], ['topic=~".+[.]raw[.].+"'])), '{{topic}}')],
          8
        ),
        grafana.lines(
          'Archivers',
          'none',
          'Records that are neither archived nor in the memory of an archiver.',
          [q(prom.sum(['dataset', 'topic'], shown('seamless_archive_lag_records')), '{{dataset}} {{topic}}')],
          8
        ),
        grafana.lines(
          'Streams',
          'none',
          'Records that are committed and were not given to the reader of a stream yet, at most.',
          [q(
            prom.max(['consumer', 'dataset'], shown('seamless_stream_lag_records', reader)),
            '{{dataset}} {{consumer}}'
          )],
          8
        ),
      ]),
      grafana.row('Commits', [
        grafana.lines(
          'Time of a commit, 99th percentile',
          's',
          'Seconds from the end of a batch to its commit.',
          [q(prom.quantile(0.99, ['world_id'], shown('seamless_commit_seconds_bucket', [])), '{{world_id}}')],
          8
        ),
        grafana.lines(
          'Transactions that were aborted',
          'cps',
          'Aborted transactions per second, by reason; their rows come again.',
          [q(
            'sum by (reason) (rate(%s[$__rate_interval]))' % shown('seamless_transaction_aborts_total', []),
            '{{reason}}'
          )],
          8
        ),
        grafana.lines(
          'Time of an archive commit, 99th percentile',
          's',
          'Seconds to sort, write and commit rows to the archive.',
          [q(prom.quantile(0.99, ['dataset'], shown('seamless_archive_commit_seconds_bucket')), '{{dataset}}')],
          8
        ),
      ]),
      grafana.row('Readers and the archive', [
        grafana.lines(
          'Rows that streams gave',
          'cps',
          'Rows per second that streams gave to their readers.',
          [q(
            prom.rate(['consumer', 'dataset'], shown('seamless_stream_rows_total', reader)),
            '{{dataset}} {{consumer}}'
          )],
          8
        ),
        grafana.lines(
          'Size of the archive',
          'bytes',
          'Bytes of the files that the tables consist of.',
          [q(prom.max(['dataset'], shown('seamless_archive_bytes')), '{{dataset}}')],
          8
        ),
        grafana.lines(
          'Files of the archive',
          'none',
          'Files that the tables consist of; merges make few large ones of many small ones.',
          [q(prom.max(['dataset'], shown('seamless_archive_files')), '{{dataset}}')],
          8
        ),
      ]),
      grafana.row('Processes', [
        grafana.lines(
          'Processes',
          'none',
          'Processes that answer to Prometheus, by version.',
          [q('count by (version) (%s)' % shown('seamless_build_info', []), '{{version}}')],
          12
        ),
        grafana.lines(
          'Calls without an answer',
          'cps',
          'Calls per second of providers that were given up at their deadline, or not made as earlier ones hang.',
          [q(
            'sum by (target, reason) (rate(%s[$__rate_interval]))' % shown('seamless_calls_unanswered_total', []),
            '{{target}} {{reason}}'
          )],
          12
        ),
      ]),
    ]
  ),

  rules: [],

  alerts: [
    prom.alert(
      'seamless-process-down',
      'up{job=~"%s"} == 0' % config.jobs,
      'warning',
      uid,
      '{{ $labels.job }} on {{ $labels.instance }} does not answer',
      'Prometheus cannot read its metrics. Others of its kind go on in its place.',
      '2m'
    ),
  ],
}
