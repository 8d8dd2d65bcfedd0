"""The parts of a running service, each made from the configuration; `gateway.app` puts them in order."""
