"""`python -m gitpat_proxy` is `gitpat-proxy`."""

from gitpat_proxy.cli.main import main

main()
