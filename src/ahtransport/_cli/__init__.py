"""What the commands of :mod:`ahtransport.cli` do: find an application, run it, watch it, start a project."""
