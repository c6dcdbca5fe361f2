"""Broken promises to Alertmanager: alerts that fire while a promise is broken and resolve when it is kept again."""
