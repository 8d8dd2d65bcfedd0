"""The command line: verbs in files of their own, errors in one line each.

What a verb needs is imported when it runs: `--help` answers at once, however much `serve` has to load.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import agents, carriers, greetings, keys, numbers, voicemails
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption
from gateway.faults import ConfigError, StartError

if TYPE_CHECKING:
    from gateway.config import Settings

app = typer.Typer(
    name="voice-gateway",
    help=(
        "Answers phone calls for AI voice agents: the routing agent, else the fallback agent, else voicemail."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(numbers.app, name="numbers")
app.add_typer(agents.app, name="agents")
app.add_typer(carriers.app, name="carriers")
app.add_typer(keys.app, name="keys")
app.add_typer(voicemails.app, name="voicemails")
app.add_typer(greetings.app, name="greetings")


def settings(config: Path | None) -> Settings:
    """The configuration that a command works with. Raises ConfigError."""
    from gateway.config import load

    return load(config)


@app.command()
def serve(
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Also run the built-in demo agent.")] = False,
) -> None:
    """Answer calls until SIGTERM or Ctrl-C; SIGHUP reloads carriers and numbers."""
    from gateway.cli.serve import run

    run(settings(config), demo=demo)


@app.command()
def api(
    config: ConfigOption = None,
    listen: Annotated[str | None, typer.Option(help="Address and port, if not those of web.listen.")] = None,
) -> None:
    """Serve the phone-number API alone, in a process of its own, until SIGTERM or Ctrl-C."""
    from gateway.cli.api import run

    run(settings(config), listen)


@app.command()
def check(config: ConfigOption = None) -> None:
    """Test the configuration without starting: one line each, and a fix for what fails."""
    from gateway.cli.check import run

    raise typer.Exit(run(settings(config)))


@app.command()
def explain(
    number: Annotated[str, typer.Argument(help="What the carrier dials, in any of its formats.")],
    source: Annotated[str, typer.Option("--from", help="IP address that the call comes from.")],
    caller: Annotated[
        str | None, typer.Option(help="Calling number, to see whether a policy refuses it.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Say what would happen to a call, and why, before it happens."""
    from gateway.cli.explain import run

    raise typer.Exit(run(settings(config), number, source, caller))


@app.command()
def call(
    uri: Annotated[str, typer.Argument(help="Whom to call, e.g. sip:+14155550100@127.0.0.1:5060.")],
    play: Annotated[
        Path | None, typer.Option(help=("WAV to play once the call is answered; any rate."))
    ] = None,
    record: Annotated[Path | None, typer.Option(help="WAV to write what is heard to.")] = None,
    dtmf: Annotated[str, typer.Option(help="Keys to press after playing.")] = "",
    duration: Annotated[
        float | None,
        typer.Option(help="Seconds from the answer to hanging up; 10 more than it plays unless told."),
    ] = None,
    caller: Annotated[str, typer.Option("--as", help="Calling number.")] = "+14155550142",
) -> None:
    """Place a real call: play, record, print the ladder and the timings."""
    from gateway.cli.call import run

    raise typer.Exit(run(uri, play=play, record=record, dtmf=dtmf, duration=duration, caller=caller))


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The archive to write.")],
    config: ConfigOption = None,
    with_key: Annotated[
        bool, typer.Option("--with-key/--without-key", help="Whether the secret key goes into the archive.")
    ] = True,
) -> None:
    """Write numbers, agents, keys and integrations to one archive, also while the gateway runs."""
    from gateway.cli.upkeep import run_backup

    run_backup(settings(config), target, with_key=with_key)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="The archive to restore.")],
    config: ConfigOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a store that is there; its files are kept beside.")
    ] = False,
) -> None:
    """Put an archive in place of the store; the gateway must not run."""
    from gateway.cli.upkeep import run_restore

    run_restore(settings(config), source, force=force)


secrets_app = typer.Typer(help="The key that encrypts secrets in the store.", no_args_is_help=True)
app.add_typer(secrets_app, name="secrets")


@secrets_app.command("rotate")
def rotate_secrets(config: ConfigOption = None) -> None:
    """Encrypt every stored secret with a new key, while the gateway runs."""
    from gateway.cli.upkeep import run_rotate

    run_rotate(settings(config))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"voice-gateway {installed_version('voice-gateway')}")


def main() -> None:
    """Run the command line; whatever the operator can mend ends in one line and status 1."""
    try:
        app()
    except (ConfigError, StartError, UsageError) as error:
        sys.stderr.write(f"voice-gateway: {error}\n")
        raise SystemExit(1) from None
