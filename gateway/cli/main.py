"""The command line: verbs in files of their own, errors in one line each.

What a verb needs is imported when it runs: `--help` answers at once, however much `serve` has to load.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import agents, calls, carriers, greetings, keys, numbers, voicemails, webhooks
from gateway.cli.errors import UsageError
from gateway.cli.options import ConfigOption, JsonOption, KeyOption, UrlOption
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
app.add_typer(calls.app, name="calls")
app.add_typer(greetings.app, name="greetings")
app.add_typer(webhooks.app, name="webhooks")


def settings(config: Path | None) -> Settings:
    """The configuration that a command works with. Raises ConfigError."""
    from gateway.config import load

    return load(config)


def _version_wanted(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version_wanted,
            is_eager=True,
            help="Print the version, and whether this build is pure Python or compiled.",
        ),
    ] = False,
) -> None:
    """What may stand before the verb."""


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
def trace(
    call: calls.CallArgument,
    pcap: Annotated[
        Path | None,
        typer.Option("--pcap", help="Write the packets to this file instead, for Wireshark; - for stdout."),
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what went over the wire for one call: a ladder of both legs, and every message whole.

    Secrets (credentials, keys of SRTP, bearer tokens) are starred out. The messages are on the gateway that
    had the call, within traces.max_total_bytes; a call that goes on can be traced, too. The capture has RTP
    if traces.rtp was on.

    Examples:
      voice-gateway trace 4be0a3e91f2c77d1

      voice-gateway trace CA0123456789abcdef0123456789abcdef --pcap call.pcap

      voice-gateway trace 4be0a3e91f2c77d1 --pcap - | tshark -r -

    """
    from gateway.cli.api_client import ApiTarget
    from gateway.cli.trace import run

    run(ApiTarget(config, url, key), call, pcap, as_json=as_json)


@app.command()
def top(
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print once, and end.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Watch the live calls of a gateway: state, who calls whom, where in the plan, MOS. Ctrl-C ends it."""
    from gateway.cli.api_client import ApiTarget
    from gateway.cli.top import run

    run(ApiTarget(config, url, key), interval=interval, once=once)


@app.command()
def nodes(
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List the gateways that share one Redis: state, calls, how current their routes are.

    Exit status: 0, or 1 if one is gone that did not say goodbye; those are shown for 15 minutes.
    """
    from gateway.cli.api_client import ApiTarget
    from gateway.cli.nodes import run

    raise typer.Exit(run(ApiTarget(config, url, key), as_json=as_json))


@app.command()
def drain(
    undo: Annotated[bool, typer.Option("--undo", help="Take new calls again.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until no call is left.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 3600.0,
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Have new calls go elsewhere, and wait until the last one here is over.

    Carriers get 503 for new calls and for OPTIONS, /readyz says why, and calls under way go on. The gateway
    keeps running: stop it afterwards, or take calls again with --undo.

    Exit status: 0 when no call is left, 1 when --timeout has passed before.

    Examples:
      voice-gateway drain --timeout 600 && systemctl stop voice-gateway

      voice-gateway drain --undo

    """
    from gateway.cli.api_client import ApiTarget
    from gateway.cli.drain import run

    raise typer.Exit(run(ApiTarget(config, url, key), undo=undo, wait=wait, timeout=timeout))


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
    """Print the version, and how it was built."""
    from gateway.build import BUILD

    typer.echo(f"voice-gateway {BUILD}")


def main() -> None:
    """Run the command line; whatever the operator can mend ends in one line and status 1."""
    try:
        app()
    except (ConfigError, StartError, UsageError) as error:
        sys.stderr.write(f"voice-gateway: {error}\n")
        raise SystemExit(1) from None
