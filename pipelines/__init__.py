"""What names a runner, a cloud resource or a file layout: drivers, sources, sinks, commands."""
