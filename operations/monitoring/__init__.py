"""Dashboards, rules and alerts for Prometheus and Grafana, as jsonnet."""
