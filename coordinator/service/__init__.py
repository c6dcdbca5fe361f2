"""The coordinator as an HTTP service: `server.serve` runs it, `app.create_app` makes its application."""
