"""Puts the commands of `picket policy` together."""

import typer

from cli import flags, stages
from cli.policy import backtest, explain, lint, verdicts

app = typer.Typer(
    help="Lint policies, explain flows by them, and try them on recorded flows.",
    no_args_is_help=True,
)
app.command("lint")(lint.lint)
app.command("explain", help=explain.HELP)(explain.explain)
app.command("backtest", help=backtest.HELP)(flags.command(backtest.backtest, (stages.BUS,)))
app.command("verdicts")(verdicts.verdicts)
